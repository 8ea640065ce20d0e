"""The options, commands and versions in error messages exist and do what the messages say."""

import argparse
import ast
import re

import pytest
import torch
from helpers import ROOT, SegmentationImages, runner, segmentor
from mmengine.config import Config

from samat_mm.command_line.arguments import add_run_arguments
from samat_mm.command_line.main import COMMANDS
from samat_mm.command_line.prepare_data import COMPLETE
from samat_mm.compat import load_checkpoint_file
from samat_mm.engine.hooks import PretrainedBackboneHook
from samat_mm.engine.resume import resume
from samat_mm.runners.config_files import parsed_options

SOURCES = sorted((ROOT / 'samat_mm').rglob('*.py'))


def texts(node):
    """The strings in a piece of code, with '{}' for each value in them."""
    for part in ast.walk(node):
        if isinstance(part, ast.JoinedStr):
            yield ''.join(piece.value if isinstance(piece, ast.Constant) else '{}' for piece in part.values)
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


TREES = [ast.parse(path.read_text()) for path in SOURCES]
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)
DOCSTRINGS = {
    ast.get_docstring(node, clean=False) for tree in TREES for node in ast.walk(tree) if isinstance(node, DOCUMENTED)
}
# Messages are raised, returned by a function that words them, logged or printed.
SAID = [text for tree in TREES for text in texts(tree) if text not in DOCSTRINGS]
OPTIONS = {text for text in SAID if re.fullmatch(r'--[a-z][a-z_-]*', text)}  # as add_argument gets them


def test_every_option_that_is_named_is_one_of_a_tool():
    named = {option for text in SAID for option in re.findall(r'(?<![\w(-])--[a-z][a-z_-]*', text)}
    # pip's, in the advice on torchattacks, and git's
    assert named - OPTIONS <= {'--no-deps', '--abbrev', '--exclude'}
    assert {'--resume', '--cfg-options', '--work-dir', '--attack'} <= OPTIONS


def test_every_command_that_is_named_is_one():
    named = {command for text in SAID for command in re.findall(r'`samat-mm ([a-z][\w-]*)(?: ([\w-]+))?', text)}
    assert ('prepare-data', 'stanford') in named
    for command, first in named:
        assert command in COMMANDS
        assert command != 'prepare-data' or first in COMPLETE


def test_the_version_that_is_advised_is_the_one_that_is_tested():
    advised = {found for text in SAID for found in re.findall(r'torchattacks==[\d.]+\d', text)}
    assert len(advised) == 1
    assert advised.pop() in (ROOT / 'Makefile').read_text() + (ROOT / 'constraints.txt').read_text()


# -------------------------------------------------------------------------------- advice on backbone weights


def advised(error, **places):
    """The options that a message advises, as the tools parse them."""
    for name, value in places.items():
        error = error.replace(f'={name}', f'={value}')
    parser = argparse.ArgumentParser()
    add_run_arguments(parser)
    found = re.findall(r'--cfg-options (\S+?)(?=[,.]?(?:\s|$))', error)
    return [parsed_options(parser.parse_args(['--cfg-options', option]).cfg_options) for option in found]


def training(work_dir, hooks=None, **more):
    made = runner(segmentor(seed=1), work_dir, train=SegmentationImages(2), iterations=1, **more)
    if hooks is not None:
        made._hooks = []
        made.register_default_hooks(hooks)
    return made


@pytest.fixture
def config():
    config = Config.fromfile(ROOT / 'configs' / 'deeplabv3_voc_sam.py')
    config.default_hooks.pretrained.checkpoint = 'nothing.pth'
    return config


def test_without_backbone_weights_both_ways_out_work(config, tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        training(tmp_path / '0', config.default_hooks).train()
    torch.save(segmentor(seed=7).backbone.state_dict(), tmp_path / 'backbone.pth')
    ways = advised(str(error.value), PATH=tmp_path / 'backbone.pth')
    assert len(ways) == 2
    for number, options in enumerate(ways, 1):
        changed = config.copy()
        changed.merge_from_dict(options)
        run = training(tmp_path / str(number), changed.default_hooks)
        assert any(isinstance(hook, PretrainedBackboneHook) for hook in run.hooks) == (number == 1)
        run.train()
        assert run.iter == 1


def test_what_cannot_be_resumed_can_be_started_from(tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save({'state_dict': segmentor(seed=7).state_dict()}, path)
    with pytest.raises(ValueError, match='cannot be resumed') as error:
        resume(training(tmp_path / '1'), str(path))
    ((name, value),) = advised(str(error.value))[0].items()
    run = training(
        tmp_path / '2', optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.0)), **{name: value}
    )
    run.train()
    expected = load_checkpoint_file(path)['state_dict']
    assert all(torch.equal(parameter, expected[key]) for key, parameter in run.model.named_parameters())
