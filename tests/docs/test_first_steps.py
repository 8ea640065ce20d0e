"""The commands of the page First steps run as they stand, with one epoch in the place of 40."""

from pathlib import Path

import pytest
from pages import ROOT, blocks
from shell import commands

from samat_mm.command_line.main import main

EPOCHS = ('train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'default_hooks.checkpoint.interval=1')
SHORT = {
    'train': ['--cfg-options', *EPOCHS],
    'test': ['--max-samples', '20'],
    'sharpness': ['--batches', '1'],
}
ORDER = ['train', 'train', 'test', 'test', 'compare', 'test', 'sharpness', 'sharpness']
WRITTEN = {'sgd.json', 'sgd.html', 'sam.json', 'sam.html', 'comparison.html'}


def words_of_the_page(folder: Path) -> list[list[str]]:
    """The commands on the built-in handwriting, which are cheap, shortened."""
    found = []
    for number, block in enumerate(blocks('bash')):
        if block.page == 'docs/start/first-steps.md' and 'handwriting' in block.text:
            place = folder / str(number)
            place.mkdir()
            found += commands(block.text.replace('epoch_40', 'epoch_1'), place)
    return [[*words[1:], *SHORT.get(words[1], [])] for words in found]


def test_the_commands_run_and_give_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = words_of_the_page(tmp_path)
    assert [words[0] for words in given] == ORDER
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    monkeypatch.chdir(tmp_path)
    for words in given:
        assert main(words) == 0, words
    assert {path.name for path in tmp_path.iterdir()} >= WRITTEN
    assert capsys.readouterr().out.count('pass') >= 2  # of the sanity checks
