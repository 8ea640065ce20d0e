import importlib.util
import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samat_mm.datasets import StanfordBackgroundDataset, VOC2012Dataset, preparation

TOOL = Path(__file__).parents[2] / 'tools/prepare_data.py'
STANFORD, VOC = 'stanford_background', 'VOCdevkit/VOC2012'


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Return a function that runs the command and gives its exit status and what it printed."""
    spec = importlib.util.spec_from_file_location('prepare_data', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    def run_tool(*arguments):
        monkeypatch.setattr('sys.argv', ['prepare_data.py', *map(str, arguments), '--out', str(tmp_path / 'data')])
        try:
            status = tool.main()
        except SystemExit as end:
            status = end.code
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run_tool


@pytest.fixture
def stanford(tmp_path):
    root = tmp_path / 'source/iccv09Data'
    for folder in ('images', 'labels'):
        (root / folder).mkdir(parents=True)
    for number in range(10):
        Image.fromarray(np.full((6, 8, 3), 20 * number, np.uint8)).save(root / f'images/{number:03d}.jpg')
        np.savetxt(root / f'labels/{number:03d}.regions.txt', np.full((6, 8), number % 9 - 1), fmt='%d')
    return root


@pytest.fixture
def devkit(tmp_path):
    root = tmp_path / 'source/VOCdevkit/VOC2012'
    for folder in ('JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation'):
        (root / folder).mkdir(parents=True)
    for number, name in enumerate(['a', 'b', 'c', 'unlisted']):
        Image.fromarray(np.full((6, 8, 3), 60 * number, np.uint8)).save(root / f'JPEGImages/{name}.jpg')
        if name != 'unlisted':
            Image.fromarray(np.full((6, 8), number, np.uint8)).save(root / f'SegmentationClass/{name}.png')
    (root / 'ImageSets/Segmentation/train.txt').write_text('a\nb\n')
    (root / 'ImageSets/Segmentation/val.txt').write_text('c\n')
    return root


def archive(folder, suffix):
    """Pack a folder and return the archive, and take the folder away."""
    path = folder.parent.parent / f'archive{suffix}'
    if suffix == '.zip':
        shutil.make_archive(str(path.with_suffix('')), 'zip', folder.parent)
    else:
        with tarfile.open(path, 'w:gz' if suffix == '.tar.gz' else 'w') as tar:
            tar.add(folder.parent, arcname='.')
    shutil.rmtree(folder.parent)
    return path


def nothing_left(tmp_path):
    return not (tmp_path / 'data').exists()


@pytest.mark.parametrize('suffix', ['.tar', '.tar.gz', '.zip', ''])
def test_stanford(run, stanford, tmp_path, suffix):
    status, printed = run('stanford', archive(stanford, suffix) if suffix else stanford.parent)
    assert status == 0, printed
    assert 'is ready' in printed and '10' in printed and '715' in printed and 'subset' in printed
    assert len(StanfordBackgroundDataset(tmp_path / 'data' / STANFORD)) == 8
    assert [path.name for path in (tmp_path / 'data').iterdir()] == [STANFORD]


@pytest.mark.parametrize('suffix', ['.tar', '.zip', ''])
def test_voc(run, devkit, tmp_path, suffix):
    status, printed = run('voc', archive(devkit, suffix) if suffix else devkit)
    assert status == 0, printed
    assert len(VOC2012Dataset(tmp_path / 'data' / VOC)) == 2
    assert [path.name for path in (tmp_path / 'data').iterdir()] == ['VOCdevkit']


def test_the_folder_of_2012_is_chosen_among_years(run, devkit, tmp_path):
    shutil.copytree(devkit, devkit.parent / 'VOC2007')
    (devkit.parent / 'VOC2007/ImageSets/Segmentation/train.txt').write_text('a\n')
    assert run('voc', devkit.parent)[0] == 0
    assert len(VOC2012Dataset(tmp_path / 'data' / VOC)) == 2


def test_a_read_only_source_stays_as_it_is(run, stanford, tmp_path):
    for path in (stanford / 'images', stanford):
        path.chmod(0o555)
    try:
        assert run('stanford', stanford)[0] == 0
    finally:
        for path in (stanford, stanford / 'images'):
            path.chmod(0o755)
    assert (tmp_path / 'data' / STANFORD).stat().st_mode & 0o200
    assert len(list((stanford / 'images').iterdir())) == 10


def test_hidden_files_do_not_count(run, stanford):
    (stanford / 'images/._000.jpg').write_bytes(b'left by a Mac')
    assert run('stanford', stanford)[0] == 0


def test_running_again_checks_what_is_there(run, stanford, tmp_path):
    run('stanford', stanford)
    status, printed = run('stanford', stanford)
    assert status == 0 and 'already there' in printed
    (tmp_path / 'data' / STANFORD / 'labels/004.regions.txt').unlink()
    status, printed = run('stanford', stanford)
    assert status == 1 and '1 without labels: 004' in printed and 'delete it and run again' in printed


def test_a_killed_run_does_not_disturb_the_next(run, stanford, tmp_path):
    leftover = tmp_path / f'data/.{STANFORD}.partial/copy/images'
    leftover.mkdir(parents=True)
    (leftover / 'half.jpg').write_bytes(b'half')
    assert run('stanford', stanford)[0] == 0
    assert [path.name for path in (tmp_path / 'data').iterdir()] == [STANFORD]
    assert not (tmp_path / 'data' / STANFORD / 'images/half.jpg').exists()


def test_an_interrupt_leaves_nothing(run, stanford, tmp_path, monkeypatch):
    def interrupted(*_):
        assert (tmp_path / f'data/.{STANFORD}.partial').is_dir()
        raise KeyboardInterrupt

    monkeypatch.setattr('samat_mm.datasets.verification.read_regions', interrupted)
    status, printed = run('stanford', stanford)
    assert (status, printed.strip()) == (130, '')
    assert nothing_left(tmp_path)


def test_all_problems_of_stanford_are_listed(run, stanford, tmp_path):
    (stanford / 'labels/001.regions.txt').unlink()
    (stanford / 'labels/002.regions.txt').unlink()
    (stanford / 'images/003.jpg').unlink()
    (stanford / 'images/004.jpg').write_bytes((stanford / 'images/004.jpg').read_bytes()[:-40])
    (stanford / 'labels/005.regions.txt').write_text('0 1 2\n')
    np.savetxt(stanford / 'labels/006.regions.txt', np.full((6, 8), 9), fmt='%d')
    status, printed = run('stanford', archive(stanford, '.tar.gz'))
    assert status == 1 and nothing_left(tmp_path)
    assert '2 without labels: 001, 002' in printed
    assert '1 without an image: 003' in printed
    assert '3 damaged: ' in printed
    assert 'image images/004.jpg cannot be decoded' in printed
    assert 'labels labels/005.regions.txt are (1, 3)' in printed
    assert 'labels labels/006.regions.txt hold [9]' in printed


def test_all_problems_of_voc_are_listed(run, devkit, tmp_path):
    lists = devkit / 'ImageSets/Segmentation'
    (lists / 'train.txt').write_text('a\nb\nd\ne\nf\ng\n')
    Image.fromarray(np.full((6, 8), 77, np.uint8)).save(devkit / 'SegmentationClass/a.png')
    Image.fromarray(np.zeros((5, 8), np.uint8)).save(devkit / 'SegmentationClass/b.png')
    (lists / 'val.txt').write_text('unlisted\n')
    status, printed = run('voc', devkit)
    assert status == 1 and nothing_left(tmp_path)
    assert '4 without an image: d, e, f, ...' in printed
    assert '5 without labels: d, e, f, ...' in printed
    assert 'a.png hold [77]' in printed and 'b.png are (8, 5)' in printed
    (lists / 'val.txt').write_text('')
    assert 'missing or empty: ImageSets/Segmentation/val.txt' in run('voc', devkit)[1]


def test_missing_folders_are_named(run, devkit, tmp_path):
    shutil.rmtree(devkit / 'JPEGImages')
    status, printed = run('voc', devkit.parent)
    assert status == 1 and 'lacks the folder(s) JPEGImages;' in printed and nothing_left(tmp_path)
    assert 'no folder with images, labels' in run('stanford', devkit.parent)[1]


@pytest.mark.parametrize('member', ['../outside.txt', '/tmp/samat-outside.txt'])
def test_a_zip_that_writes_outside_is_refused(run, tmp_path, member):
    path = tmp_path / 'evil.zip'
    with zipfile.ZipFile(path, 'w') as zipped:
        zipped.writestr(member, 'x')
    status, printed = run('stanford', path)
    assert status == 1 and 'was refused' in printed and nothing_left(tmp_path)
    assert not list(tmp_path.rglob('*outside*'))


@pytest.mark.parametrize('link', [False, True])
def test_a_tar_that_writes_outside_is_refused(run, tmp_path, link):
    path = tmp_path / 'evil.tar'
    with tarfile.open(path, 'w') as tar:
        member = tarfile.TarInfo('images' if link else '../../outside.txt')
        if link:
            member.type, member.linkname = tarfile.SYMTYPE, '/etc'
        else:
            member.size = 1
        tar.addfile(member, io.BytesIO(b'x'))
    status, printed = run('stanford', path)
    assert status == 1 and 'was refused' in printed and nothing_left(tmp_path)
    assert not list(tmp_path.rglob('*outside*'))


@pytest.mark.parametrize('suffix', ['.tar', '.tar.gz', '.zip'])
def test_a_cut_off_archive_is_refused(run, stanford, tmp_path, suffix):
    path = archive(stanford, suffix)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    status, printed = run('stanford', path)
    assert status == 1 and 'error:' in printed and nothing_left(tmp_path)


def test_wrong_sources_are_explained(run, tmp_path):
    assert 'does not exist' in run('voc', tmp_path / 'nowhere.tar')[1]
    (tmp_path / 'notes.txt').write_text('no archive')
    assert 'neither a folder nor a tar or zip archive' in run('voc', tmp_path / 'notes.txt')[1]
    assert nothing_left(tmp_path)


def test_the_target_appears_only_after_the_check(stanford, tmp_path, monkeypatch):
    def check(root, track):
        assert not (tmp_path / 'data' / STANFORD).exists() and (root / 'images').is_dir()
        return preparation.Findings({'images': 10})

    layout = preparation.Layout(STANFORD, ('images', 'labels'), 'iccv09Data', check)
    target, _ = preparation.prepare(stanford, tmp_path / 'data', layout, lambda items, title: items)
    assert target == tmp_path / 'data' / STANFORD and (target / 'images').is_dir()
