import bz2
import errno
import gzip
import io
import lzma
import os
import random
import re
import shutil
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from samat_mm.command_line.main import run_command
from samat_mm.datasets import StanfordBackgroundDataset, VOC2012Dataset, decompression, preparation
from samat_mm.errors import UserError

STANFORD, VOC = 'stanford_background', 'VOCdevkit/VOC2012'


@pytest.fixture
def run(tmp_path, capsys):
    """Return a function that runs the command and returns its exit status and output."""

    def run_tool(*arguments):
        try:
            status = run_command('prepare-data', [*map(str, arguments), '--out', str(tmp_path / 'data')])
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
        with tarfile.open(path, f'w:{suffix.removeprefix(".tar").removeprefix(".")}') as tar:
            tar.add(folder.parent, arcname='.')
    shutil.rmtree(folder.parent)
    return path


def nothing_left(tmp_path):
    return not (tmp_path / 'data').exists()


@pytest.mark.parametrize('suffix', ['.tar', '.tar.gz', '.tar.bz2', '.tar.xz', '.zip', ''])
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


def add_augmented(devkit, names='unlisted'):
    """Add the augmented list and labels for its images."""
    (devkit / 'SegmentationClassAug').mkdir()
    (devkit / 'ImageSets/Segmentation/aug.txt').write_text('\n'.join(names.split()))
    for name in names.split():
        Image.fromarray(np.full((6, 8), 3, np.uint8)).save(devkit / f'SegmentationClassAug/{name}.png')


def test_voc_with_the_augmented_list(run, devkit, tmp_path):
    add_augmented(devkit)
    status, printed = run('voc', devkit)
    assert status == 0 and re.search(r'trainaug\s.*3\s.*10,582', printed), printed
    assert len(VOC2012Dataset(tmp_path / 'data' / VOC, 'trainaug')) == 3
    (tmp_path / 'data' / VOC / 'SegmentationClassAug/unlisted.png').unlink()
    assert '1 without labels: unlisted' in run('voc', devkit)[1]


def test_all_problems_of_the_augmented_list_are_listed(run, devkit, tmp_path):
    add_augmented(devkit, 'unlisted d')
    Image.fromarray(np.full((5, 8), 77, np.uint8)).save(devkit / 'SegmentationClassAug/unlisted.png')
    status, printed = run('voc', devkit)
    assert status == 1 and '1 without an image: d' in printed and nothing_left(tmp_path)
    assert 'unlisted.png are (8, 5) (width, height), but the image is (8, 6)' in printed
    (devkit / 'ImageSets/Segmentation/aug.txt').write_text('unlisted\nc\n')
    assert 'names 1 of the images that the model is tested on (val): c' in run('voc', devkit)[1]
    (devkit / 'ImageSets/Segmentation/aug.txt').unlink()
    assert 'lacks ImageSets/Segmentation/aug.txt' in run('voc', devkit)[1] and nothing_left(tmp_path)


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
    assert status == 1 and 'lacks JPEGImages;' in printed and nothing_left(tmp_path)
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


@pytest.mark.parametrize('suffix', ['.tar', '.tar.gz', '.tar.bz2', '.tar.xz', '.zip'])
def test_an_archive_that_is_not_whole_is_refused(run, stanford, tmp_path, suffix):
    """However its end looks: half of it, a part of the checksum, something behind it, or two archives in one."""
    path = archive(stanford, suffix)
    whole = path.read_bytes()
    cut = [whole[: len(whole) // 2], *([whole[:-3]] if suffix != '.tar' else [])]  # a tar file ends with zeros
    for damaged in (*cut, whole + b'garbage', whole + whole):
        path.write_bytes(damaged)
        status, printed = run('stanford', path)
        assert status == 1 and nothing_left(tmp_path), printed
        assert re.fullmatch(rf'error: {path} .*\.\n', printed), printed


def test_a_tar_without_its_end_is_refused(run, stanford, tmp_path):
    path = archive(stanford, '.tar')
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1].offset
    path.write_bytes(path.read_bytes()[:last])  # cut off between two members
    assert 'is cut off' in run('stanford', path)[1] and nothing_left(tmp_path)


def test_a_damaged_header_is_not_the_end(run, stanford, tmp_path):
    path = archive(stanford, '.tar')
    with tarfile.open(path) as tar:
        middle = tar.getmembers()[-3].offset
    content = bytearray(path.read_bytes())
    content[middle] ^= 1
    path.write_bytes(content)
    assert 'data follows its last member' in run('stanford', path)[1] and nothing_left(tmp_path)


@pytest.mark.parametrize('joined', ['.tar.gz', '.tar.bz2', '.tar.xz'])
def test_an_archive_compressed_in_pieces_is_read(run, stanford, tmp_path, joined):
    compress = {'.tar.gz': gzip.compress, '.tar.bz2': bz2.compress, '.tar.xz': lzma.compress}[joined]
    plain = archive(stanford, '.tar').read_bytes()
    path = tmp_path / f'pieces{joined}'
    path.write_bytes(compress(plain[:7000]) + compress(plain[7000:]) + bytes(8))
    assert run('stanford', path)[0] == 0
    assert len(StanfordBackgroundDataset(tmp_path / 'data' / STANFORD)) == 8


@pytest.mark.parametrize('suffix', ['.tar.gz', '.tar.bz2', '.tar.xz', '.zip'])
def test_a_flipped_bit_is_refused_or_without_effect(stanford, tmp_path, suffix):
    out = tmp_path / 'data'
    whole = {path.relative_to(stanford): path.read_bytes() for path in stanford.rglob('*') if path.is_file()}
    path = archive(stanford, suffix)
    content, seen = path.read_bytes(), set()
    end = len(content) * 8
    for bit in [*random.Random(9).sample(range(end), 60), *random.Random(9).sample(range(end - 500, end), 20)]:
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            target, findings = preparation.prepare(path, out, preparation.LAYOUTS['stanford'], lambda items, _: items)
        except UserError as error:
            seen.add('refused')
            assert str(error).endswith('.') and '\n' not in str(error)
        else:
            assert not findings.problems, bit
            seen.add('without effect')
            assert {p.relative_to(target): p.read_bytes() for p in target.rglob('*') if p.is_file()} == whole, bit
            shutil.rmtree(out)
        assert not out.exists(), bit
    assert 'refused' in seen


def zeros_in_a_tar(path, *members):
    with tarfile.open(path, 'w:gz', compresslevel=1) as tar:
        for name, size in members:
            member = tarfile.TarInfo(name)
            member.size = size
            tar.addfile(member, io.BytesIO(bytes(size)))


def test_what_is_damaged_or_too_much_is_refused_before_anything_is_written(run, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, '_staging_folder', None)  # would make the folder to unpack to
    monkeypatch.setattr(decompression, 'UNSUSPICIOUS', 1 << 20)
    image = 'iccv09Data/images/a.jpg'
    zeros_in_a_tar(tmp_path / 'one.tar.gz', (image, 3 << 20))
    zeros_in_a_tar(tmp_path / 'many.tar.gz', *((f'{image}{number}', 1 << 19) for number in range(7)))
    zeros_in_a_tar(tmp_path / 'other.tar.gz', ('thesis/data.bin', 1 << 20))
    with zipfile.ZipFile(tmp_path / 'one.zip', 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as zipped:
        zipped.writestr(image, bytes(3 << 20))
    with zipfile.ZipFile(tmp_path / 'damaged.zip', 'w') as zipped:
        zipped.writestr(image, b'abcdef')
    (tmp_path / 'damaged.zip').write_bytes((tmp_path / 'damaged.zip').read_bytes().replace(b'abcdef', b'abcdeg'))
    for name, words in {
        'damaged.zip': 'Bad CRC-32',
        'one.tar.gz': '200 times its size',
        'many.tar.gz': '200 times its size',
        'one.zip': '200 times its size',
        'other.tar.gz': 'no folder with images, labels',
    }.items():
        status, printed = run('stanford', tmp_path / name)
        assert status == 1 and words in printed and printed.count('\n') == 1, printed
        assert nothing_left(tmp_path)


@pytest.mark.parametrize('kind', [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_header_does_not_fill_the_memory(run, tmp_path, kind):
    member = tarfile.TarInfo('name')
    member.type, member.size = kind, 1 << 40
    (tmp_path / 'header.tar').write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    assert 'a header has' in run('stanford', tmp_path / 'header.tar')[1]


def test_names_that_no_file_can_have_are_refused(run, tmp_path):
    with zipfile.ZipFile(tmp_path / 'names.zip', 'w') as zipped:
        zipped.writestr('a/' * 30_000 + 'b', b'')
    assert 'a name of 59,999 characters' in run('stanford', tmp_path / 'names.zip')[1] and nothing_left(tmp_path)


def test_a_sparse_member_does_not_hide_its_size(run, tmp_path):
    member = tarfile.TarInfo('iccv09Data/images/a.jpg')
    member.pax_headers = {'GNU.sparse.size': str(10**12), 'GNU.sparse.map': '0,1', 'GNU.sparse.numblocks': '1'}
    member.size = 1
    (tmp_path / 'sparse.tar').write_bytes(member.tobuf(tarfile.PAX_FORMAT) + b'x'.ljust(10240, b'\0'))
    assert 'too much for this data set' in run('stanford', tmp_path / 'sparse.tar')[1] and nothing_left(tmp_path)


def test_a_disk_that_is_too_small_is_said_before(run, stanford, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: SimpleNamespace(free=10))
    status, printed = run('stanford', stanford)
    assert status == 1 and f'{tmp_path / "data"} has 0 MB left; free some space.' in printed and nothing_left(tmp_path)


def test_wrong_sources_are_explained(run, tmp_path):
    (tmp_path / 'notes.txt').write_text('no archive')
    (tmp_path / 'empty.tar').touch()
    os.mkfifo(tmp_path / 'pipe')
    for source, words in {
        tmp_path / 'nowhere.tar': 'does not exist',
        tmp_path / 'notes.txt': 'is neither a folder nor a tar or zip archive',
        tmp_path / 'empty.tar': 'is empty',
        tmp_path / 'pipe': 'is a device, a pipe or a socket',
        Path('/dev/zero'): 'is a device, a pipe or a socket',
    }.items():
        status, printed = run('voc', source)
        assert status == 1 and f'error: {source} {words}' in printed and nothing_left(tmp_path)


def test_a_source_with_a_device_among_its_files_is_refused(run, stanford, tmp_path):
    (stanford / 'images/100.jpg').symlink_to('/dev/zero')
    status, printed = run('stanford', stanford)
    assert status == 1 and f'{stanford}/images/100.jpg is a device' in printed and nothing_left(tmp_path)


def test_links_to_where_they_are_are_not_followed(run, stanford, tmp_path):
    (stanford / 'images/back').symlink_to('..')
    (stanford / 'labels').rename(tmp_path / 'elsewhere')
    (stanford / 'labels').symlink_to(tmp_path / 'elsewhere')
    assert run('stanford', stanford)[0] == 0
    assert not (tmp_path / 'data' / STANFORD / 'images/back').exists()
    assert len(StanfordBackgroundDataset(tmp_path / 'data' / STANFORD)) == 8


def test_source_and_target_must_not_overlap(run, stanford, tmp_path):
    assert run('stanford', stanford)[0] == 0
    target = tmp_path / 'data' / STANFORD
    for source in (target, target / 'images'):
        status, printed = run('stanford', source)
        assert status == 1 and f'{source} is inside {target}, which will be created' in printed
    partial = tmp_path / f'data/.{STANFORD}.partial'
    target.rename(partial)
    assert 'which will be created' in run('stanford', partial)[1] and (partial / 'images').is_dir()
    partial.rename(target)
    for source in (tmp_path, tmp_path / 'data'):  # the last is --out itself
        status, printed = run('stanford', source)
        assert status == 1 and f'is inside {source}; give another --out' in printed
    assert [path.name for path in (tmp_path / 'data').iterdir()] == [STANFORD]


@pytest.mark.parametrize(
    ('number', 'words'),
    [
        (errno.ENOSPC, 'No space left.*; free some space'),
        (errno.EROFS, 'Read-only.*; choose a disk'),
        (errno.EACCES, 'Perm'),
    ],
)
@pytest.mark.parametrize('suffix', ['.tar.gz', '.zip', ''])
def test_what_cannot_be_written_is_named(run, stanford, tmp_path, monkeypatch, number, words, suffix):
    """A full disk refuses to write, and does not say which file."""

    def refused(*_, **__):
        raise OSError(number, os.strerror(number))

    source = archive(stanford, suffix) if suffix else stanford
    for module in (shutil, tarfile, zipfile.shutil):
        monkeypatch.setattr(module, 'copyfileobj', refused)
    status, printed = run('stanford', source)
    assert status == 1 and nothing_left(tmp_path) and 'Error' not in printed
    assert re.fullmatch(rf'\s*error: .*{STANFORD}\.partial/\S*(jpg|txt) cannot be written \({words}.*\n', printed), (
        printed
    )


def test_what_cannot_be_made_or_read_is_named(run, stanford, tmp_path, monkeypatch):
    (tmp_path / 'data').touch()
    assert f'{tmp_path}/data/.{STANFORD}.partial cannot be written (Not a directory)' in run('stanford', stanford)[1]
    (tmp_path / 'data').unlink()
    real = Path.open

    def unreadable(path, *mode):
        if path.name == '004.jpg' and mode[0] == 'rb':
            raise PermissionError(errno.EACCES, 'Permission denied', str(path))
        return real(path, *mode)

    monkeypatch.setattr(Path, 'open', unreadable)
    assert f'{stanford}/images/004.jpg cannot be read (Permission denied); change the' in run('stanford', stanford)[1]
    assert nothing_left(tmp_path)


def test_a_list_that_is_no_text_is_named(run, devkit):
    (devkit / 'ImageSets/Segmentation/train.txt').write_bytes(b'\xff\xfe')
    status, printed = run('voc', devkit)
    assert status == 1 and 'list ImageSets/Segmentation/train.txt cannot be decoded' in printed


def test_the_target_appears_only_after_the_check(stanford, tmp_path, monkeypatch):
    def check(root, track):
        assert not (tmp_path / 'data' / STANFORD).exists() and (root / 'images').is_dir()
        return preparation.Findings({'images': 10})

    layout = preparation.Layout(STANFORD, ('images', 'labels'), 'iccv09Data', 10**6, check)
    target, _ = preparation.prepare(stanford, tmp_path / 'data', layout, lambda items, title: items)
    assert target == tmp_path / 'data' / STANFORD and (target / 'images').is_dir()


def test_a_tar_may_list_folders_without_those_they_are_in(run, devkit, tmp_path):
    path = tmp_path / 'members.tar'
    with tarfile.open(path, 'w') as tar:
        for folder in ('JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation'):
            tar.add(devkit / folder, arcname=f'VOCdevkit/VOC2012/{folder}')
    assert run('voc', path)[0] == 0
    assert len(VOC2012Dataset(tmp_path / 'data' / VOC)) == 2
