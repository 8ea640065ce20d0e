"""Shared parts of the command line tools: options, configs, runners, and error messages."""

from samat_mm.command_line.arguments import common_parser, seed_number
from samat_mm.command_line.config_errors import building
from samat_mm.command_line.configs import build_runner, build_runner_and_model, load_config
from samat_mm.command_line.endings import errors_as_sentences

__all__ = [
    'build_runner',
    'build_runner_and_model',
    'building',
    'common_parser',
    'errors_as_sentences',
    'load_config',
    'seed_number',
]
