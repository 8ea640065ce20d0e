"""The examples in the docstrings of the Python functions, run in a folder that has their files."""

import doctest
from importlib import import_module

import pytest
import torch
from rich.console import Console

import samat_mm
from samat_mm.networks import SmallCNN
from samat_mm.runners import console
from samat_mm.runners.builders import build_runner
from samat_mm.runners.config_files import load_config

METHODS = ('sgd', 'sam')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('examples')
    for number, method in enumerate(METHODS):
        config = load_config(f'samat_mm::smallcnn_handwriting_{method}.py', work_dir=path / 'work')
        torch.manual_seed(number)
        model = build_runner(config).model
        assert isinstance(model.backbone, SmallCNN)
        torch.save({'state_dict': model.state_dict()}, path / f'{method}.pth')
        samat_mm.evaluate(config, path / f'{method}.pth', max_samples=4).save(path / f'{method}.json')
    return path


@pytest.mark.parametrize('name', ['training', 'evaluation', 'comparison', 'sharpness'])
def test_the_examples_are_right(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(console, 'Console', lambda **options: Console(**{**options, 'quiet': True}))
    failed, attempted = doctest.testmod(import_module(f'samat_mm.api.{name}'))
    assert (failed, attempted >= 3) == (0, True)
