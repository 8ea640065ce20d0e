"""The tools, run in this process."""

import importlib.util
import sys

import pytest
from helpers import ROOT

from samat_mm.compat import TRUST_VARIABLE


@pytest.fixture
def tool(monkeypatch, capfd):
    """Run ``main()`` of a tool in this process; returns its status, output and errors."""
    monkeypatch.delenv(TRUST_VARIABLE, raising=False)
    monkeypatch.delenv('SAMAT_MM_DEBUG', raising=False)
    monkeypatch.setenv('COLUMNS', '200')

    def run(name, *arguments):
        spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT / 'tools' / f'{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, 'argv', [f'tools/{name}.py', *map(str, arguments)])
        capfd.readouterr()
        try:
            status = module.main() or 0
        except SystemExit as end:
            status = end.code
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return run
