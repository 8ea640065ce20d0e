"""The presets of attacks on the terminal."""

from rich.console import Console

from samat_mm.presets import presets
from samat_mm.registry import ATTACKS
from samat_mm.terminal import Entry, print_entries
from samat_mm.visualization.document import in_255ths

RADII = ('eps', 'step_size', 'bound')


def print_attacks(console: Console | None = None) -> None:
    """Print every preset with its parameters and its source."""
    entries = []
    for name, preset in presets().items():
        parameters = ATTACKS.build(preset['attack']).describe()
        radii = {key: in_255ths(float(parameters[key])) for key in RADII if key in parameters}
        text = ', '.join(f'{key}={value}' for key, value in {**parameters, **radii}.items())
        entries.append(Entry(name, 'cyan', (text, preset['source'], '')))
    print_entries('attacks (eps and step_size in [0, 1] pixel units)', entries, console or Console())
