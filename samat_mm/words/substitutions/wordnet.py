"""Substitutions from WordNet."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from samat_mm.errors import MissingFileError
from samat_mm.words.substitutions.base import PARTS_OF_SPEECH, Substitution, Substitutions
from samat_mm.words.substitutions.files import digest_of, path_text, read_bytes
from samat_mm.words.substitutions.inflection import inflected, readings
from samat_mm.words.substitutions.wordnet_files import Lexicon, file_names

VARIABLE = 'WNSEARCHDIR'  # where WordNet's own programs look
FOLDERS = ('/usr/share/wordnet', 'data/wordnet')
ADVICE = 'install it with: apt install wordnet-base'


@dataclass(frozen=True, repr=False)
class WordNet(Substitutions):
    """The synonyms of a word in WordNet 3, those of its most frequent senses first; all have the distance 0.

    The files hold lemmas. The lemma of an inflected word is found as WordNet does, by its lists of exceptions and rules
    of detachment, and the synonyms are inflected alike: 'films' gives 'movies', 'thought' gives 'believed'. A synonym
    is left out where its form is not certain: where past tense and participle differ ('went', 'gone'), for a long
    adjective, and where neither WordNet's lists nor a rule of spelling decide ('means', 'epoch', 'blogged').

    Source: Fellbaum (ed.), WordNet: an electronic lexical database, MIT Press 1998. Debian has the files as the package
    wordnet-base.

    Args:
        folder: the folder of ``data.noun`` and the other dictionary files; by default the first that exists of
            $WNSEARCHDIR, /usr/share/wordnet and data/wordnet.

    Example:
        >>> [word for word, _ in WordNet()('films', 'noun')][:2]  # doctest: +SKIP
        ['movies', 'pictures']
    """

    folder: str | Path | None = None

    def __post_init__(self) -> None:
        if self.folder is not None:
            self._settle(folder=path_text(self.folder, 'folder'))

    def __call__(self, word: str, part_of_speech: str | None = None) -> list[Substitution]:
        """Return the synonyms of a word."""
        found: dict[str, None] = {}
        for lexicon in self._lexicons:
            if part_of_speech in (None, lexicon.part_of_speech):
                for lemma, inflection in readings(word, lexicon):
                    forms = (inflected(synonym, inflection, lexicon) for synonym in lexicon.synonyms(lemma))
                    found |= dict.fromkeys(form for form in forms if form is not None)
        return [(form, 0.0) for form in found if form != word and '_' not in form]

    @property
    def digest(self) -> str:
        """A number that changes with the content of the files, in hexadecimal."""
        return digest_of(content for contents in self._contents.values() for content in contents)

    def _folder(self) -> Path:
        if self.folder is not None:
            return Path(self.folder)
        places = [place for place in (os.environ.get(VARIABLE), *FOLDERS) if place]
        for place in places:
            if (Path(place) / 'data.noun').is_file():
                return Path(place)
        raise MissingFileError(
            f"WordNet is in none of {', '.join(places)}; {ADVICE}, or give its folder as folder='...'."
        )

    @cached_property
    def _contents(self) -> dict[str, list[bytes]]:
        folder = self._folder()
        return {part: [read_bytes(folder / name, ADVICE) for name in file_names(part)] for part in PARTS_OF_SPEECH}

    @cached_property
    def _lexicons(self) -> list[Lexicon]:
        folder = self._folder()
        return [Lexicon(folder, part, *contents) for part, contents in self._contents.items()]
