"""A CUDA device of its own for each job on a machine: python on_own_device.py COMMAND ...

Runs the command with CUDA_VISIBLE_DEVICES set to one device that no other job has. Where fewer than two devices are
visible, as without CUDA and in a job of Slurm with one GPU, there is nothing to choose, and the command runs as it is.
It imports next to nothing, because it starts before every job.
"""

import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

VARIABLE = 'CUDA_VISIBLE_DEVICES'
DRIVERS = ('nvidia[0-9]*', 'kfd', 'dxg')  # device files of NVIDIA, AMD and WSL
LOOK = 1.0  # seconds between two looks for a free device


def visible() -> list[str]:
    """Return the devices that CUDA would show to this process, by their numbers or names."""
    if VARIABLE in os.environ:
        return [name.strip() for name in os.environ[VARIABLE].split(',') if name.strip()]
    if not any(found for pattern in DRIVERS for found in Path('/dev').glob(pattern)):
        return []
    import torch  # takes a second before every job

    return [str(number) for number in range(torch.cuda.device_count())]


def take(devices: Sequence[str], folder: Path) -> str:
    """Return a device that no other process has; wait for one if need be.

    It belongs to this process and its children until all of them end, however they end: it is a lock on an open file.

    Args:
        devices: Names of the devices.
        folder: Folder of the locks, one for each device.

    Raises:
        OSError: if a lock cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: os.open(folder / name.replace('/', '_'), os.O_RDWR | os.O_CREAT, 0o600) for name in devices}
    while (name := next((name for name, file in files.items() if _locked(file)), None)) is None:
        time.sleep(LOOK)
    for other, file in files.items():
        if other != name:
            os.close(file)
    os.set_inheritable(files[name], True)
    return name


def main(command: Sequence[str]) -> None:
    """Take a device, and become the command."""
    devices = visible()
    if len(devices) > 1:
        os.environ[VARIABLE] = take(devices, Path(tempfile.gettempdir()) / f'samat-mm-devices-{os.getuid()}')
    os.execvp(command[0], list(command))


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == '__main__':
    if len(sys.argv) < 2:
        sys.exit('on_own_device.py runs a command on a device of its own; give the command.')
    main(sys.argv[1:])
