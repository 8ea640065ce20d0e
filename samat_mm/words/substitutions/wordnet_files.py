"""The dictionary files of WordNet 3: index, data and exceptions of each part of speech.

Source: wndb(5WN) and morphy(7WN) of WordNet 3.0.
"""

from pathlib import Path

from samat_mm.words.substitutions.files import damaged

SUFFIXES = {'noun': 'noun', 'verb': 'verb', 'adjective': 'adj', 'adverb': 'adv'}  # of the files
COMMENT = b'  '  # how the lines of the licence begin


def file_names(part_of_speech: str) -> tuple[str, str, str]:
    """Return the names of the index, the data and the exceptions of a part of speech."""
    suffix = SUFFIXES[part_of_speech]
    return f'index.{suffix}', f'data.{suffix}', f'{suffix}.exc'


class Lexicon:
    """The lemmas of one part of speech, their synonyms, and their irregular forms.

    Args:
        folder: where the files are, for errors.
        part_of_speech: 'noun', 'verb', 'adjective' or 'adverb'.
        index: content of the index file, one lemma a line, with the offsets of its senses in ``data``.
        data: content of the data file, one set of synonyms a line.
        exceptions: content of the file of exceptions, an irregular form and its lemmas on each line.

    Raises:
        ValueError: if a file is damaged.
    """

    def __init__(self, folder: Path, part_of_speech: str, index: bytes, data: bytes, exceptions: bytes) -> None:
        self.part_of_speech = part_of_speech
        self._index_file, self._data_file, exceptions_file = (folder / name for name in file_names(part_of_speech))
        lines = [line for line in index.split(b'\n') if line and not line.startswith(COMMENT)]
        self._lines = {line.partition(b' ')[0]: line for line in lines}
        if not lines or not index.endswith(b'\n'):
            raise damaged(self._index_file, 'it ends too early')
        if not data.endswith(b'\n'):
            raise damaged(self._data_file, 'it ends too early')
        self._data = data
        self.lemmas_of: dict[str, list[str]] = {}
        self.irregular_forms: dict[str, list[str]] = {}
        for line in exceptions.decode('latin-1').splitlines():
            form, *lemmas = line.split() or ['']
            if not lemmas:
                raise damaged(exceptions_file, f'no lemma of {form!r}')
            self.lemmas_of.setdefault(form, []).extend(lemmas)
            for lemma in lemmas:
                self.irregular_forms.setdefault(lemma, []).append(form)

    def __contains__(self, lemma: str) -> bool:
        return lemma.encode() in self._lines

    def synonyms(self, lemma: str) -> list[str]:
        """Return the words of every sense of a lemma, the most frequent sense first; itself among them.

        Raises:
            ValueError: if a file is damaged.
        """
        line = self._lines.get(lemma.encode())
        return [] if line is None else [word for offset in self._offsets(line) for word in self._words(offset)]

    def _offsets(self, line: bytes) -> list[int]:
        """Return the offsets at the end of a line of the index, as many as its third entry says."""
        entries = line.split()
        try:
            senses = int(entries[2])
            offsets = [int(entry) for entry in entries[-senses:]]
        except (ValueError, IndexError) as error:
            raise damaged(self._index_file, f'the line {line[:60]!r}') from error
        if not 0 < senses == len(offsets) or len(entries) < 6 + senses:
            raise damaged(self._index_file, f'the line {line[:60]!r}')
        return offsets

    def _words(self, offset: int) -> list[str]:
        """Return the words of the line at an offset: its offset, two entries, their number and each with another one.

        An adjective may end in a marker of its place, such as '(a)'.
        """
        line = self._data[offset : max(self._data.find(b'\n', offset), offset)]
        entries = line.split()
        try:
            count = int(entries[3], 16)
            words = [word.decode().partition('(')[0] for word in entries[4 : 4 + 2 * count : 2]]
        except (ValueError, IndexError) as error:
            raise damaged(self._data_file, f'no words at byte {offset}') from error
        if entries[0] != b'%08d' % offset or len(words) != count or count == 0:
            raise damaged(self._data_file, f'no words at byte {offset}')
        return words
