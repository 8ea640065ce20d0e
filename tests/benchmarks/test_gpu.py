"""The run on a GPU: parts end in time, results are complete, and the archive has what a machine lacks."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from samat_mm.compat import is_installed

BENCHMARKS = Path(__file__).parents[2] / 'benchmarks'


@pytest.fixture
def gpu(monkeypatch):
    """The modules of the script, which is not a package."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu
    import gpu_pack
    import gpu_parts

    return type('Modules', (), {'main': gpu, 'parts': gpu_parts, 'pack': gpu_pack})


@pytest.fixture
def setting(gpu, tmp_path):
    """Return a function from minutes to the setting of a run."""

    def build(minutes, **others):
        return gpu.parts.Setting(
            minutes=minutes,
            deadline=gpu.parts.Deadline(minutes),
            out=tmp_path,
            **{'device': 'cpu', 'data': None, 'work_dir': tmp_path, 'environment': dict(os.environ), **others},
        )

    return build


def run_all(gpu, setting, *parts):
    record = gpu.parts.Record(setting.out / 'gpu.json')
    for part in parts:
        gpu.parts.run(part, setting, record)
    finished = record.finish()
    written = json.loads((setting.out / 'gpu.json').read_text())
    assert written['complete'] == finished
    return written['parts']


def is_running(pid):
    """Whether a process runs; one that nobody has waited for stays in the list when it has ended."""
    found = subprocess.run(['ps', '-o', 'stat=', '-p', pid], capture_output=True, text=True).stdout.strip()
    return bool(found) and not found.startswith('Z')


def test_without_a_device_there_is_nothing_to_do(tmp_path):
    command = [sys.executable, str(BENCHMARKS / 'gpu.py'), '--out', str(tmp_path / 'out')]
    hidden = {**os.environ, 'CUDA_VISIBLE_DEVICES': ''}
    ended = subprocess.run(command, capture_output=True, text=True, env=hidden)
    assert ended.returncode == 2
    assert 'no CUDA device' in ended.stderr and 'Traceback' not in ended.stderr
    assert not (tmp_path / 'out').exists()


def test_parts_that_end_fail_need_images_or_have_no_time(gpu, setting, tmp_path):
    part = gpu.parts.Part
    good = part('good', 0.5, ('-c', 'print("{device} {out}")'), tiny=('more',))
    bad = part('bad', 0.5, ('-c', 'raise SystemExit(3)'))
    images = part('images', 0.5, ('-c', 'pass', '{data}'))
    late = part('late', 0.0, ('-c', 'pass'))
    first, second, third, fourth = run_all(gpu, setting(5), good, bad, images, late)
    assert first['state'] == 'done' and first['command'] == ['-c', f'print("cpu {tmp_path}")', 'more']
    assert second['state'] == 'failed: exit status 3'
    assert third['state'].startswith('left out: there are no images')
    assert fourth['state'].startswith('left out: no time')
    assert f'cpu {tmp_path}' in (tmp_path / 'gpu.log').read_text()


def test_a_part_that_overruns_is_stopped_with_all_that_it_started(gpu, setting, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu.parts, 'GRACE', 0.5)
    stubborn = (
        'import os, signal, subprocess, sys, time\n'
        'signal.signal(signal.SIGTERM, signal.SIG_IGN)\n'
        'child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])\n'
        f'open({str(tmp_path / "pids")!r}, "w").write(" ".join(map(str, [os.getpid(), child.pid])))\n'
        'time.sleep(600)'
    )
    start = time.monotonic()
    parts = [
        gpu.parts.Part(name, until, ('-c', code))
        for name, until, code in (('stubborn', 0.5, stubborn), ('next', 1.0, 'pass'))
    ]
    first, second = run_all(gpu, setting(0.1), *parts)
    assert first['state'].startswith('stopped') and second['state'] == 'done'
    assert time.monotonic() - start < 6
    assert not any(is_running(pid) for pid in (tmp_path / 'pids').read_text().split())


def test_time_that_a_part_leaves_goes_to_the_next_ones(gpu, setting):
    build = setting(10)
    first, second = (gpu.parts.Part(name, until, ('-c', '{minutes}')) for name, until in (('a', 0.25), ('b', 0.75)))
    assert build.seconds_for(first) == pytest.approx(150, abs=1)
    assert build.seconds_for(second) == pytest.approx(450, abs=1)
    assert gpu.parts.arguments(second, build, 90)[1] == '1.500'


def test_the_parts_run_on_the_fake_device_and_leave_their_files(gpu, tmp_path):
    """The parts themselves, tiny; their own tests check the measurements and the training."""
    shares = [part.until for part in gpu.parts.PARTS]
    assert shares == sorted(shares) and shares[-1] < 1
    out, names = tmp_path / 'out', [part.name for part in gpu.parts.PARTS if not part.needs_data]
    options = ['--device', 'cpu', '--minutes', '9', '--out', str(out), '--parts', *names]
    ended = subprocess.run([sys.executable, str(BENCHMARKS / 'gpu.py'), *options], capture_output=True, text=True)
    record = json.loads((out / 'gpu.json').read_text())
    states = {part['name']: part['state'] for part in record['parts']}
    assert states == dict.fromkeys(names, 'done'), (out / 'gpu.log').read_text()
    assert ended.returncode == 0 and record['complete'] and record['machine']['device'] == 'cpu'
    assert 'failures="0"' in (out / 'tests.xml').read_text()
    for name in ('step_cost', 'attack_cost'):
        assert json.loads((out / f'{name}.json').read_text())['complete'], name


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_killed_leaves_what_it_had(tmp_path, number):
    """The first part is over, the second runs: the tests' stand-ins are parts that print and sleep."""
    code = (
        f'import sys; sys.path.insert(0, {str(BENCHMARKS)!r}); sys.argv = ["gpu.py", "--device", "cpu", "--out", '
        f'{str(tmp_path)!r}]\n'
        'import gpu\n'
        'from gpu_parts import Part\n'
        'gpu.PARTS = (Part("short", 0.5, ("-c", "pass")), Part("long", 0.9, ("-c", "import time; time.sleep(20)")))\n'
        'sys.exit(gpu.main())'
    )
    process = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith('long'):
            break
    time.sleep(0.5)
    process.send_signal(number)
    process.communicate(timeout=30)
    record = json.loads((tmp_path / 'gpu.json').read_text())
    states = [part['state'] for part in record['parts']]
    assert not record['complete'] and record['machine']['device'] == 'cpu'
    assert states == ['done', 'interrupted by SystemExit' if number == signal.SIGTERM else 'running']


def test_what_was_packed_is_installed_and_found(gpu, tmp_path, monkeypatch):
    wheel = tmp_path / 'packed_thing-1.0-py3-none-any.whl'
    with zipfile.ZipFile(wheel, 'w') as opened:
        opened.writestr('packed_thing.py', 'VALUE = 7\n')
        opened.writestr(
            'packed_thing-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\nName: packed-thing\nVersion: 1.0\n'
        )
        opened.writestr(
            'packed_thing-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n'
        )
        opened.writestr('packed_thing-1.0.dist-info/RECORD', '')
    np.savez(tmp_path / gpu.pack.DATA, train_labels=np.zeros(1))
    with tarfile.open(tmp_path / 'pack.tar', 'w') as archive:
        archive.add(wheel, f'wheels/{wheel.name}')
        archive.add(tmp_path / gpu.pack.DATA, gpu.pack.DATA)
    monkeypatch.setattr(sys, 'path', list(sys.path))
    folder = tmp_path / 'installed'
    folder.mkdir()
    assert gpu.main.install(tmp_path / 'pack.tar', folder) == folder / gpu.pack.DATA
    code = 'import importlib.util, packed_thing; print(importlib.util.find_spec("samat_mm") and packed_thing.VALUE)'
    found = subprocess.run([sys.executable, '-c', code], env=gpu.main.environment(), cwd=tmp_path, capture_output=True)
    assert found.stdout.split()[-1] == b'7', found.stderr
    left_out = subprocess.run([sys.executable, '-c', 'import timm'], env=gpu.main.environment(), capture_output=True)
    assert b'ImportError: timm is left out' in left_out.stderr


@pytest.mark.skipif(not is_installed('samat-mm'), reason='packs what samat-mm, as it is installed, requires')
def test_the_pack_has_the_stack_and_nothing_that_the_machine_has(gpu):
    missing = gpu.pack.missing()
    assert {'onedl-mmengine', 'onedl-mmcv', 'onedl-mmsegmentation', 'onedl-mmpretrain', 'torchattacks'} <= set(missing)
    assert not {'torch', 'torchvision', 'numpy', 'opencv-python', 'scipy', 'pillow', 'requests', 'pytest'} & set(
        missing
    )


@pytest.mark.parametrize('share', [1.0, 0.55])
def test_as_many_images_are_packed_as_fit(gpu, tmp_path, share):
    random = np.random.default_rng(0)
    arrays = {}
    for split, count in (('train', 100), ('test', 10)):
        arrays[f'{split}_bytes'] = random.integers(256, size=900 * count, dtype=np.uint8)
        arrays[f'{split}_offsets'] = 900 * np.arange(count + 1)
        arrays[f'{split}_labels'] = random.integers(10, size=count, dtype=np.uint8)
    np.savez(tmp_path / 'data.npz', **arrays)
    packed = tmp_path / 'packed.npz'
    packed.write_bytes(gpu.pack.fitting(tmp_path / 'data.npz', int(share * 103_000)))
    with np.load(packed) as found:
        count = len(found['train_labels'])
        assert count == (100 if share == 1 else 50)
        assert found['train_offsets'].tolist() == arrays['train_offsets'][: count + 1].tolist()
        assert np.array_equal(found['train_bytes'], arrays['train_bytes'][: 900 * count])
        assert np.array_equal(found['test_bytes'], arrays['test_bytes'])
    with pytest.raises(RuntimeError, match='does not fit'):
        gpu.pack.fitting(tmp_path / 'data.npz', 10_000)
