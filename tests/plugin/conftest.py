"""The big models of other projects run when they are asked for: ``pytest tests/plugin -m slow``."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.markexpr or any('::' in argument for argument in config.args):
        return
    unasked = [item for item in items if item.path.is_relative_to(Path(__file__).parent) and is_slow(item)]
    config.hook.pytest_deselected(items=unasked)
    items[:] = [item for item in items if item not in unasked]


def is_slow(item: pytest.Item) -> bool:
    return item.get_closest_marker('slow') is not None
