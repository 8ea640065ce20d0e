"""Every command in the documents is one that exists: it is parsed, its files are there, and its config can be read."""

import argparse
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from pages import ROOT, Block, blocks
from shell import commands

from samat_mm.command_line.main import COMMANDS, main
from samat_mm.presets import preset_names
from samat_mm.runners.config_files import load_config, parsed_options

TOOLS = {f'tools/{name.replace("-", "_")}.py': name for name in COMMANDS}
# Scripts that start processes: their command, and which of their arguments are not those of the command.
DISTRIBUTED = {
    'tools/dist_train.sh': ('train', (1,)),
    'tools/dist_test.sh': ('test', (2,)),
    'tools/slurm_train.sh': ('train', (0, 1)),
    'tools/slurm_test.sh': ('test', (0, 1)),
}
OTHERS = {'apt', 'git', 'sudo', 'samat-mm', 'pre-commit'}
SHELL = blocks('bash')


def own_command(words: list[str]) -> tuple[str, list[str]] | None:
    """The command of samat-mm in a command line, and its arguments, whatever launches it."""
    for index, word in enumerate(words):
        before, after = words[:index], words[index + 1 :]
        if word == 'samat-mm' and after and before[:1] != ['git']:
            return after[0], after[1:]
        if word == 'samat_mm' and before[-1:] == ['-m']:
            return after[0], after[1:]
        if word in TOOLS and before[-1:] == ['python']:
            return TOOLS[word], after
        if word in DISTRIBUTED:
            name, own = DISTRIBUTED[word]
            assert all(after[place].isdecimal() or after[place].isupper() for place in own)
            return name, [argument for place, argument in enumerate(after) if place not in own]
    return None


def parsed(name: str, arguments: list[str]) -> argparse.Namespace:
    """The arguments as the command itself parses them."""
    parser = argparse.ArgumentParser()
    import_module(f'samat_mm.command_line.{name.replace("-", "_")}').add_arguments(parser)
    args, others = parser.parse_known_intermixed_args(arguments)
    assert hasattr(args, 'others') or not others, others
    if others:
        assert not set(re.findall(r'--[\w-]+', ' '.join(others))) - snakemake_options(), others
    return args


@cache
def snakemake_options() -> set[str]:
    from snakemake.cli import get_argument_parser

    known = {option for action in get_argument_parser()._actions for option in action.option_strings}
    slurm = {'--slurm-status-command', '--slurm-init-seconds-before-status-checks'}  # of its executor
    return known | slurm


@cache
def check_config(path: str, options: tuple[str, ...]) -> None:
    config = load_config(path, options=parsed_options(list(options)))
    assert config.get('model') is not None


def check_own(name: str, arguments: list[str], folder: Path = ROOT) -> None:
    if '--help' in arguments or name == '--version':
        return
    assert name in COMMANDS
    args = parsed(name, arguments)
    for config in (getattr(args, 'config', None), *(getattr(args, 'surrogate', None) or ())[:1]):
        if config is not None and not config.isupper():
            written = folder / config  # by the block itself
            path = config if '::' in config else str(written if written.is_file() else ROOT / config)
            check_config(path, tuple(getattr(args, 'cfg_options', None) or ()))
    for attack in getattr(args, 'attack', None) or ():
        assert attack in (*preset_names(), 'list', 'NAME')
    if name == 'reproduce':
        for part in (args.table, args.budget):
            assert '/' not in str(part) or (ROOT / part).is_file(), part


def check_other(words: list[str]) -> None:
    """Commands of other programs: what they name of this repository exists."""
    first = words[0]
    if first == 'make':
        targets = re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(encoding='utf-8'), flags=re.MULTILINE)
        assert {word for word in words[1:] if '=' not in word} <= set(targets)
    elif Path(first).name == 'pip' or first == 'run':
        for extras in re.findall(r'\.\[([\w,-]+)\]', ' '.join(words)):
            setup = (ROOT / 'setup.py').read_text(encoding='utf-8')
            assert all(f"'{extra}': " in setup for extra in extras.split(','))
    elif first.startswith('python'):
        files = [word for word in words if re.match(r'(benchmarks|docs|tests)/', word) and '{' not in word]
        given = {words[index + 1] for index, word in enumerate(words[:-1]) if word == '--out'}
        assert all((ROOT / file).exists() for file in files if file not in given), files
        assert files or words[1] == '-m', words
    else:
        assert first in OTHERS, words


@pytest.mark.parametrize('block', SHELL, ids=str)
def test_every_command_can_be_run(block: Block, tmp_path: Path) -> None:
    found = commands(block.text, tmp_path)
    assert found
    for words in found:
        own = own_command(words)
        check_other(words) if own is None else check_own(*own, tmp_path)


def cheap(words: list[str]) -> bool:
    """Whether a command of samat-mm takes seconds and needs no file; the plan of a table takes many."""
    name, arguments = words[1], words[2:]
    return name == 'attacks' or arguments == ['--attack', 'list'] or (name == 'theory' and '--samples' in arguments)


def test_cheap_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for number, block in enumerate(SHELL):
        place = tmp_path / str(number)
        place.mkdir()
        found += [words for words in commands(block.text, place) if words[0] == 'samat-mm' and cheap(words)]
    monkeypatch.chdir(tmp_path)
    for words in {tuple(words) for words in found}:
        assert main(list(words[1:])) == 0, words
    assert {words[1] for words in found} >= {'attacks', 'theory'}


def test_commands_are_found_where_the_shell_finds_them(tmp_path: Path) -> None:
    loop = 'for m in sgd sam; do\n  samat-mm train c_$m.py \\\n    --work-dir {x,y} # "no\ndone'
    text = f'N="a b"\n{loop}\nX=1 pip $N | grep $(cat f)'
    assert sorted(commands(text, tmp_path)) == sorted(
        [
            ['samat-mm', 'train', 'c_sgd.py', '--work-dir', 'x', 'y'],
            ['samat-mm', 'train', 'c_sam.py', '--work-dir', 'x', 'y'],
            ['pip', 'a', 'b'],
            ['grep', 'CHECKPOINT'],
        ]
    )
    with pytest.raises(ValueError, match='syntax'):
        commands('for x; do (', tmp_path)


@pytest.mark.parametrize('name', COMMANDS)
def test_help_is_printed_and_explains_every_argument(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    import_module(f'samat_mm.command_line.{name.replace("-", "_")}').add_arguments(parser)
    assert all(action.help for action in parser._actions)
    with pytest.raises(SystemExit) as end:
        main([name, '--help'])
    assert end.value.code == 0
    assert f'usage: samat-mm {name}' in capsys.readouterr().out


def test_wrong_commands_are_seen() -> None:
    for words in (['train', 'configs/nothing.py'], ['test', 'CONFIG', 'CHECKPOINT', '--attack', 'pgd-l7']):
        with pytest.raises((AssertionError, OSError)):
            check_own(words[0], words[1:])
    for words in (['make', 'nothing'], ['python', 'benchmarks/nothing.py'], ['rm', '-r', 'x']):
        with pytest.raises(AssertionError):
            check_other(words)
    assert own_command(['srun', '-n', '8', 'samat-mm', 'train', 'x.py']) == ('train', ['x.py'])
    assert own_command(['run', 'tools/dist_test.sh', 'a.py', 'b.pth', '8', '--sanity']) == (
        'test',
        ['a.py', 'b.pth', '--sanity'],
    )
