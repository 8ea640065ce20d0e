"""Print the attacks with their parameters and sources."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments: there are none."""


def run(args: argparse.Namespace) -> None:
    """Print every preset."""
    from rich.console import Console
    from rich.table import Table

    from samat_mm.presets import presets
    from samat_mm.registry import ATTACKS

    table = Table(title='attacks (eps and step_size in [0, 1] pixel units)')
    for column in ('name', 'parameters', 'source'):
        table.add_column(column)
    for name, preset in presets().items():
        parameters = ATTACKS.build(preset['attack']).describe()
        radii = {key: f'{float(parameters[key]) * 255:g}/255' for key in ('eps', 'step_size') if key in parameters}
        text = ', '.join(f'{key}={value}' for key, value in {**parameters, **radii}.items())
        table.add_row(name, text, preset['source'])
    Console().print(table)
