"""A Slurm cluster of one node, this machine, with ports and keys of its own."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ('munged', 'slurmctld', 'slurmd', 'setpriv')
PATIENCE = 20.0  # seconds
CONFIG = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
ReturnToService=2
KillWait=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=4000 Gres=gpu:2
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def reason_not_to_start() -> str | None:
    """Return what a cluster lacks here, as a sentence; None if it can be started."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if missing:
        return f'needs {", ".join(missing)} (Debian: apt install slurm-wlm munge)'
    return None if os.geteuid() == 0 else 'the daemons of Slurm are started as root here'


@contextmanager
def one_node(cpus: int = 2) -> Iterator[Mapping[str, str]]:
    """Run a cluster inside the block, and yield the environment in which its commands answer.

    Args:
        cpus: Number of processors that the node claims to have.

    Raises:
        TimeoutError: if it does not answer; the message has the ends of the logs.
    """
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix='slurm-'))  # short: the path of a socket has at most 107 characters
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        environment = {**os.environ, 'PATH': f'{folder}/bin:{_path()}', 'SLURM_CONF': str(folder / 'slurm.conf')}
        _write_files(folder, cpus)
        files = [f'--{name}-file={folder}/munge.{name}' for name in ('key', 'pid', 'log', 'seed')]
        munge = ['munged', '--foreground', '--force', f'--socket={folder}/munge.socket', *files]
        for command in (munge, ['slurmctld', '-D'], ['slurmd', '-D']):
            stack.enter_context(_running(command, folder, environment))
            if command is munge:
                _wait(lambda: (folder / 'munge.socket').exists(), folder)
        _wait(lambda: _answers(['sinfo', '--noheader', '--states=idle', '--format=%D'], environment), folder)
        yield environment


def _path() -> str:
    return f'{os.environ.get("PATH", os.defpath)}:/usr/sbin:/sbin'


def _write_files(folder: Path, cpus: int) -> None:
    host = socket.gethostname().partition('.')[0]
    controller_port, node_port = _free_ports(2)
    settings = {
        'folder': folder,
        'host': host,
        'cpus': cpus,
        'controller_port': controller_port,
        'node_port': node_port,
    }
    (folder / 'slurm.conf').write_text(CONFIG.format(**settings))
    (folder / 'gres.conf').write_text('Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n')
    (folder / 'munge.key').write_bytes(secrets.token_bytes(128))
    (folder / 'munge.key').chmod(0o400)
    for name in ('state', 'spool', 'bin'):
        (folder / name).mkdir()
    srun = folder / 'bin' / 'srun'  # Snakemake's executor takes SLURM_CONF away from it
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
    srun.chmod(0o755)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(('127.0.0.1', 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def _running(command: list[str], folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    with (folder / f'{command[0]}.out').open('w') as out:
        command = ['setpriv', '--pdeathsig', 'TERM', *command]  # ends with this process, however that ends
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=dict(environment))
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(command: list[str], environment: Mapping[str, str]) -> bool:
    done = subprocess.run(command, capture_output=True, text=True, env=dict(environment))
    return done.returncode == 0 and done.stdout.strip() == '1'


def _wait(ready: Callable[[], bool], folder: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > end:
            logs = '\n'.join(f'{log.name}: {log.read_text()[-500:]}' for log in folder.glob('*.[lo][ou][gt]'))
            raise TimeoutError(f'The cluster does not answer after {PATIENCE:.0f} seconds.\n{logs}')
        time.sleep(0.1)
