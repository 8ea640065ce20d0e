"""Rotten Tomatoes sentence polarity: a file of sentences from film reviews for each of two classes."""

from pathlib import Path
from typing import Any, ClassVar

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from samat_mm.datasets.folders import folder_of
from samat_mm.errors import InputError, MissingFileError
from samat_mm.files.access import reading
from samat_mm.perturbations.checks import whole_number

FILES = {'positive': 'rt-polarity.pos', 'negative': 'rt-polarity.neg'}
PUBLISHED = 5331  # sentences in each file
ENCODING = 'cp1252'  # one byte per character; some are dashes and quotation marks of this code page
SPLITS = {'train': (0.0, 0.8), 'val': (0.8, 0.9), 'test': (0.9, 1.0)}  # shares of each file


def read_sentences(path: Path) -> list[str]:
    r"""Return the sentences of a file, one per line.

    Lines end with ``\n`` alone: some hold other characters that Python takes for the end of a line.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: if the file does not exist.
        OSError: if it cannot be read.
        ValueError: if a line is empty or not text; the message names the file and the line.
    """
    with reading(path):
        lines = path.read_bytes().split(b'\n')
    if not lines[-1]:
        lines.pop()
    sentences = []
    for number, line in enumerate(lines, 1):
        try:
            sentence = line.decode(ENCODING).strip()
        except UnicodeDecodeError as error:
            raise InputError(
                f'line {number} of {path} is not text: byte {error.start + 1} is 0x{line[error.start]:02x}, which '
                f'stands for no character in {ENCODING}; restore the file.'
            ) from error
        if not sentence:
            raise InputError(f'line {number} of {path} is empty, where a sentence was expected; restore the file.')
        sentences.append(sentence)
    return sentences


@DATASETS.register_module()
class RottenTomatoes(BaseDataset):
    """Sentences from film reviews, positive or negative: 8,530 for training, 1,066 for validation, 1,066 for testing.

    There is no official split. This is the split of the Hugging Face data set ``rotten_tomatoes``: from the top of each
    file, the first 80 % of the sentences are for training, the next 10 % for validation and the last 10 % for
    testing (4,265, 533 and 533 of each class). The pipeline finds the sentence (``text``) and the label (``gt_label``,
    1 is positive).

    Args:
        data_root: folder with ``rt-polarity.pos`` and ``rt-polarity.neg``.
        split: 'train', 'val' or 'test'.
        sentences: number of sentences that each file must have; None for any number.
        kwargs: arguments of MMEngine's ``BaseDataset`` (``pipeline``, ``indices``, ``test_mode`` ...).

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if an argument is of another kind, or a file has another number of sentences or a line without one.

    Source: B. Pang and L. Lee, Seeing Stars: Exploiting Class Relationships for Sentiment Categorization with Respect
    to Rating Scales, ACL 2005.
    """

    METAINFO: ClassVar[dict] = dict(classes=('negative', 'positive'))

    def __init__(
        self,
        data_root: str = 'data/rotten_tomatoes',
        split: str = 'train',
        sentences: int | None = PUBLISHED,
        **kwargs: Any,
    ) -> None:
        if split not in tuple(SPLITS):
            raise InputError(f'RottenTomatoes: split must be one of {", ".join(SPLITS)}; got {split!r}.')
        if sentences is not None:
            whole_number(sentences, 'RottenTomatoes: sentences')
        root = folder_of(data_root, 'RottenTomatoes')
        missing = [name for name in FILES.values() if not (root / name).exists()]
        if missing:
            raise MissingFileError(
                f'Rotten Tomatoes was not found: {data_root} lacks {" and ".join(missing)}; '
                'run `samat-mm prepare-data rotten-tomatoes SOURCE`.'
            )
        self.split, self.sentences = split, sentences
        super().__init__(data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return each sentence of the split with its label, the positive ones first."""
        entries = []
        for name, file in FILES.items():
            path = Path(self.data_root) / file
            sentences = read_sentences(path)
            if self.sentences is not None and len(sentences) != self.sentences:
                raise InputError(
                    f'{path} has {len(sentences):,} lines, but must have {self.sentences:,}: another number would '
                    'change the split; run `samat-mm prepare-data rotten-tomatoes SOURCE` again.'
                )
            start, stop = (int(len(sentences) * share + 0.5) for share in SPLITS[self.split])
            label = self.METAINFO['classes'].index(name)
            entries += [dict(text=sentence, gt_label=label) for sentence in sentences[start:stop]]
        return entries
