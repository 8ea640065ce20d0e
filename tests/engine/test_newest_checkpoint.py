"""Which checkpoint a training goes on from, after whatever happened to the folder."""

import os
import random
import shutil

import pytest
import torch
from helpers import ClassificationImages, classifier, runner
from hostile import attempts

from samat_mm.engine.resume import check, newest_checkpoint, resume

SAVE = dict(type='CheckpointHook', by_epoch=False, interval=1)


def save(path, iteration, time='20260101_000000', without=(), **meta):
    """A file as MMEngine's trainings write it."""
    content = {
        'meta': {'epoch': 0, 'iter': iteration, 'time': time, **meta},
        'state_dict': {'weight': torch.full((50,), float(iteration or 0))},
        'message_hub': {'log_scalars': {}, 'runtime_info': {}, 'resumed_keys': {}},
        'optimizer': {'state': {}, 'param_groups': []},
    }
    torch.save({key: value for key, value in content.items() if key not in without}, path)
    return path


@pytest.fixture
def folder(tmp_path):
    for iteration in (4, 8, 12):
        save(tmp_path / f'iter_{iteration}.pth', iteration)
    return tmp_path


def newest(folder, *names):
    found, skipped = newest_checkpoint(folder, *names)
    return found and found.name, {path.name for path in skipped}


def test_neither_names_nor_dates_of_files_nor_the_pointer_count(folder):
    os.utime(folder / 'iter_12.pth', (1, 1))
    (folder / 'iter_12.pth').rename(folder / 'iter_2.pth')
    (folder / 'last_checkpoint').write_text('http://a.b/iter_99.pth')
    assert newest(folder) == ('iter_2.pth', set())


def test_leftovers_of_a_longer_training_of_before_do_not_count(folder):
    save(folder / 'iter_4.pth', 4, time='20260102_000000')
    assert newest(folder) == ('iter_4.pth', set())


@pytest.mark.parametrize('seed', range(30))
def test_torn_damaged_and_hostile_files_are_skipped(seed, folder):
    """Cut at any length, with flipped bits, empty, or with a program: the next one that is whole is taken."""
    source, path = random.Random(seed), folder / 'iter_12.pth'
    content = bytearray(path.read_bytes())
    way = seed % 4
    if way == 0:
        del content[source.randrange(len(content)) :]
    elif way == 1:
        content[content.index(torch.full((50,), 12.0).numpy().tobytes()) + source.randrange(200)] ^= 1
    elif way == 2:
        content = bytearray(source.randbytes(source.randrange(1000)))
    path.write_bytes(content)
    if way == 3:
        tried = attempts(folder / 'victim')
        torch.save({'meta': {'iter': 12, 'epoch': 0, 'x': tried[source.choice(sorted(tried))]}}, path)
    assert newest(folder) == ('iter_8.pth', {'iter_12.pth'})
    assert not (folder / 'victim').exists()


@pytest.mark.parametrize('part', ['meta', 'optimizer', 'message_hub', 'state_dict'])
def test_what_is_no_checkpoint_of_a_training_is_skipped(part, folder):
    save(folder / 'best_mIoU_iter_16.pth', 16, without=[part])
    assert newest_checkpoint(folder) == (folder / 'iter_12.pth', {})  # as every training keeps one, nothing is said
    for path in folder.glob('iter_*.pth'):
        path.unlink()
    found, skipped = newest_checkpoint(folder)
    assert found is None
    (reason,) = skipped.values()
    assert f'best_mIoU_iter_16.pth cannot be resumed: it holds no {part}' in reason


@pytest.mark.parametrize('iteration', [None, '16', 16.0])
def test_a_checkpoint_must_say_how_far_it_got(iteration, folder):
    save(folder / 'a.pth', iteration)
    assert newest(folder) == ('iter_12.pth', {'a.pth'})


def test_names_may_be_others(tmp_path):
    for iteration in (9, 10):
        save(tmp_path / f'step-{iteration}.pt', iteration)
    assert newest(tmp_path) == (None, set())
    assert newest(tmp_path, 'step-*.pt') == ('step-10.pt', set())


@pytest.mark.parametrize('wanted', ['', ' ', '\t'])
def test_a_checkpoint_without_a_name_is_a_mistake(wanted):
    with pytest.raises(ValueError, match=r'--resume expects the path of a checkpoint, or nothing for the newest one'):
        check(wanted)


# With a runner


def training(work_dir, iterations=4, checkpoint=SAVE, **more):
    data = ClassificationImages(2)
    return runner(classifier(), work_dir, train=data, iterations=iterations, checkpoint=checkpoint, **more)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The work_dir of a training of three iterations, with a checkpoint of each."""
    folder = tmp_path_factory.mktemp('trained') / 'run'
    training(folder, 3).train()
    return folder


@pytest.fixture
def work_dir(trained, tmp_path):
    """A copy: ``last_checkpoint`` names a file in the folder it was copied from."""
    return shutil.copytree(trained, tmp_path / 'copy')


POINTERS = [None, '', '\n', 'http://a.b/c.pth', 'torchvision://resnet18', '/no/such/file.pth', 'iter_1.pth', '\x00']


@pytest.mark.parametrize('pointer', POINTERS)
def test_whatever_the_pointer_says_the_newest_one_is_resumed(pointer, work_dir, monkeypatch):
    monkeypatch.setattr('torch.hub.download_url_to_file', lambda *_, **__: pytest.fail('the network was reached'))
    (work_dir / 'last_checkpoint').unlink()
    if pointer is not None:
        (work_dir / 'last_checkpoint').write_text(pointer)
    run = training(work_dir)
    resume(run, 'auto')
    assert run._resume is True
    assert run._load_from == str(work_dir / 'iter_3.pth')


def test_a_config_that_says_resume_does_the_same(work_dir, capfd):
    """Also with another tool than ours."""
    (work_dir / 'last_checkpoint').write_text('')
    (work_dir / 'iter_3.pth').write_bytes(b'torn')
    run = training(work_dir, resume=True)
    run.train()
    assert run._load_from == str(work_dir / 'iter_2.pth')
    assert run.iter == 4
    assert f'skipped: checkpoint {work_dir / "iter_3.pth"} is damaged or not a checkpoint' in capfd.readouterr().err


def test_where_no_checkpoint_can_be_resumed_it_is_an_error_that_says_why(work_dir):
    for path in work_dir.glob('*.pth'):
        path.write_bytes(b'')
    with pytest.raises(ValueError, match=r'none of the checkpoints in .*copy can be resumed; .*iter_1.pth is damaged'):
        resume(training(work_dir), 'auto')
    for path in work_dir.glob('*.pth'):
        path.unlink()
    with pytest.raises(ValueError, match=r'last_checkpoint tells of a checkpoint, but there is none in .*copy. Remove'):
        resume(training(work_dir), 'auto')
    (work_dir / 'last_checkpoint').unlink()
    resume(training(work_dir), 'auto')


def test_a_fresh_folder_is_begun_and_said_to_be(tmp_path, capfd):
    """With the weights that the config starts from."""
    run = training(tmp_path, load_from='weights.pth')
    resume(run, 'auto')
    assert (run._resume, run._load_from) == (False, 'weights.pth')
    assert f'nothing to resume in {tmp_path}: the training starts from the beginning.' in capfd.readouterr().err


@pytest.mark.parametrize('form', ['folder', 'template'])
def test_checkpoints_may_be_elsewhere_and_have_other_names(form, tmp_path):
    changes = {'out_dir': str(tmp_path / 'store')} if form == 'folder' else {'filename_tmpl': 'kept/[{:04d}].ckpt'}
    (tmp_path / 'run' / 'kept').mkdir(parents=True)
    training(tmp_path / 'run', 2, {**SAVE, **changes}).train()
    run = training(tmp_path / 'run', 4, {**SAVE, **changes})
    resume(run, 'auto')
    wanted = 'store/run/iter_2.pth' if form == 'folder' else 'run/kept/[0002].ckpt'
    assert run._load_from == str(tmp_path / wanted)


def test_a_remote_store_is_left_to_mmengine(tmp_path):
    run = training(tmp_path, checkpoint={**SAVE, 'out_dir': 's3://bucket/folder'})
    resume(run, 'auto')
    assert (run._resume, run._load_from) == (True, None)


def test_one_that_is_named_is_checked_before_the_training(work_dir):
    run = training(work_dir)
    resume(run, str(work_dir / 'iter_1.pth'))
    assert (run._resume, run._load_from) == (True, str(work_dir / 'iter_1.pth'))
    weights = save(work_dir / 'weights.pth', 3, without=['optimizer'])
    with pytest.raises(ValueError, match=r'weights.pth cannot be resumed: it holds no optimizer. Start a new training'):
        resume(run, str(weights))
    with pytest.raises(FileNotFoundError, match=r'nothing.pth is not a file'):
        resume(run, str(work_dir / 'nothing.pth'))
