"""What every benchmark writes: its numbers, always as a complete file, and the machine."""

import json
import math
import os
import platform
import time
from pathlib import Path
from typing import Any

INSTRUCTIONS = ('avx2', 'avx512f', 'avx512_bf16', 'amx_bf16', 'amx_tile')


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write a file that is complete at any moment: the old version until the new one is complete."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_plain(data), indent=2, allow_nan=False)
    unfinished = path.with_name(f'.{path.name}.unfinished')
    unfinished.write_text(text + '\n', encoding='utf-8')
    os.replace(unfinished, path)


def _plain(value: Any) -> Any:
    """Return the value in JSON form: a path by its bare name, and null for a number that is not finite."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.name if isinstance(value, Path) else value


class Deadline:
    """The end of a script's time, counted from the creation of this object.

    Args:
        minutes: the time; None for no limit.
    """

    def __init__(self, minutes: float | None) -> None:
        self._end = math.inf if minutes is None else time.monotonic() + 60 * minutes

    def left(self) -> float:
        """Return the seconds left: infinite without a limit, negative after the end."""
        return self._end - time.monotonic()

    def allows(self, seconds: float) -> bool:
        """Tell whether ``seconds`` are left."""
        return seconds <= self.left()


def machine(device: str) -> dict[str, Any]:
    """Return a description of the device: processor or GPU, instructions or memory, and versions."""
    from samat_mm.compat import versions  # takes seconds, and needs the stack

    return {**hardware(device), 'python': platform.python_version(), 'versions': versions()}


def hardware(device: str) -> dict[str, Any]:
    """Return the processor or GPU, and its instructions or memory."""
    named = _card(device) if device.startswith('cuda') else _processor()
    return {'device': device, **named, 'cpus': os.cpu_count()}


def _processor() -> dict[str, Any]:
    """Return the processor's model and its instructions, as far as the system reports them."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:  # not Linux
        return {'name': platform.processor() or platform.machine(), 'instructions': []}
    entries = {key.strip(): value.strip() for key, _, value in (line.partition(':') for line in lines)}
    flags = entries.get('flags', '').split()
    name = entries.get('model name', platform.machine())
    return {'name': name, 'instructions': [flag for flag in INSTRUCTIONS if flag in flags]}


def _card(device: str) -> dict[str, Any]:
    """Return the GPU's name, memory, compute capability and driver."""
    import torch

    card = torch.cuda.get_device_properties(device)
    try:
        driver = Path('/proc/driver/nvidia/version').read_text(encoding='utf-8').splitlines()[0]
    except (OSError, IndexError):
        driver = 'unknown'
    return {
        'name': torch.cuda.get_device_name(device),
        'memory_gib': round(card.total_memory / 2**30, 1),
        'compute_capability': f'{card.major}.{card.minor}',
        'driver': driver,
        'cuda': torch.version.cuda,
        'cudnn': torch.backends.cudnn.version(),
    }
