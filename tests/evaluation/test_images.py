"""Images by number, and the name of the one that cannot be read."""

import pickle
import traceback

import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import pseudo_collate
from PIL import Image
from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader, Dataset

from samat_mm.errors import FileError, InputError, UserError
from samat_mm.evaluation.images import first_item, read_batches


class Numbers(Dataset):
    """Its inputs are the numbers; some cannot be read."""

    def __init__(self, broken=(), error=None, info=True):
        self.broken, self.error = broken, error or OSError('gone')
        if info:
            self.get_data_info = self.info

    def info(self, number):
        return {'img_path': f'/data/{number}.jpg'}

    def __len__(self):
        return 10

    def __getitem__(self, number):
        if number in self.broken:
            raise self.error
        return {'inputs': number, 'data_samples': f'sample {number}'}


class Loaded(Numbers):
    """Reads an image and its labels as mmcv does, and may then fail."""

    after: Exception | None = None

    def __init__(self, folder):
        self.files = {'img_path': str(folder / 'image.jpg'), 'seg_map_path': str(folder / 'labels.png')}
        for path in self.files.values():
            Image.fromarray(np.random.default_rng(0).integers(0, 9, (40, 40), np.uint8)).save(path)

    def get_data_info(self, number):
        return dict(self.files)

    def __getitem__(self, number):
        try:
            loaded = LoadImageFromFile()(self.get_data_info(number))
        except AssertionError:
            raise AttributeError("'NoneType' object has no attribute 'shape'") from None  # of earlier versions
        loaded['labels'] = np.asarray(Image.open(loaded['seg_map_path']))
        if self.after is not None:
            raise self.after
        return loaded


def read(dataset, numbers, size=2, **more):
    loader = DataLoader(dataset, batch_size=size, collate_fn=pseudo_collate, **more)
    return read_batches(loader, numbers)


@pytest.mark.parametrize('workers', [0, 2])
def test_batches_of_the_loaders_size(workers):
    found = list(read(Numbers(), [7, 1, 4, 0, 2], num_workers=workers))
    assert [numbers for numbers, _ in found] == [[7, 1], [4, 0], [2]]
    assert [batch['inputs'] for _, batch in found] == [[7, 1], [4, 0], [2]]
    assert found[1][1]['data_samples'] == ['sample 4', 'sample 0']


def test_nothing_to_read():
    """Of a process that has no image, because there are fewer images than processes."""
    assert list(read(Numbers(), [])) == []


@pytest.mark.parametrize('workers', [0, 2])
def test_the_image_that_cannot_be_read_is_named_once_those_before_it_are_done(workers):
    batches = read(Numbers(broken=[4]), [0, 1, 2, 3, 4, 5], num_workers=workers)
    assert [next(batches)[0] for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(
        OSError, match=r'^image 4 of the test set, /data/4\.jpg, cannot be read \(gone\); mend the file\.$'
    ):
        next(batches)


def test_a_mistake_in_the_pipeline_keeps_its_trace():
    """Also on the way from a worker, which hands its exception on like this; a real one costs five seconds."""
    batches = read(Numbers(broken=[4], error=KeyError('no such key')), [0, 1, 2, 3, 4])
    assert [next(batches)[0] for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(RuntimeError) as caught:
        next(batches)
    with pytest.raises(RuntimeError) as handed_on:
        ExceptionWrapper((RuntimeError, caught.value, caught.tb), 'in a worker process').reraise()
    for error in (caught.value, handed_on.value):
        assert 'the pipeline fails at image 4 of the test set (/data/4.jpg)' in str(error)
        assert not isinstance(error, UserError)
        trace = ''.join(traceback.format_exception(error))
        assert "KeyError: 'no such key'" in trace and 'raise self.error' in trace


@pytest.mark.parametrize(
    ('error', 'said'),
    [
        (OSError('first\nsecond'), r'image 3 of the test set cannot be read \(first\); mend the file\.'),
        (OSError(), r'image 3 of the test set cannot be read \(OSError\); mend the file\.'),
        (
            InputError('labels 3.png hold [77]; repair the file.'),
            r'image 3.*: labels 3\.png hold \[77\]; repair the file\.',
        ),
    ],
)
def test_the_sentence_is_one_line(error, said):
    with pytest.raises(OSError, match=f'^{said}$') as caught:
        list(read(Numbers(broken=[3], error=error, info=False), [3]))
    assert isinstance(caught.value, UserError)


@pytest.mark.parametrize('spoilt', ['image.jpg', 'labels.png'])
def test_loaders_that_do_not_name_the_file(tmp_path, spoilt):
    """Those of mmcv fail an assertion, or OpenCV's, or say what of a file is wrong but not of which."""
    dataset = Loaded(tmp_path)
    path = tmp_path / spoilt
    whole = path.read_bytes()
    for content in (b'', b'no picture', whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(FileError, match=rf'^image 0 of the test set: {path.stem} {path} cannot be decoded \(.+\)'):
            list(read(dataset, [0]))


def test_whole_files_are_not_blamed(tmp_path):
    """What a decoder may raise may also be raised by the code of a transform."""
    dataset = Loaded(tmp_path)
    dataset.after = ValueError('operands could not be broadcast')
    with pytest.raises(RuntimeError, match=r'the pipeline fails at image 0 of the test set \(.*image\.jpg\)'):
        list(read(dataset, [0]))


def test_the_first_item():
    assert first_item(Numbers(), [3, 4])['data_samples'] == 'sample 3'
    with pytest.raises(OSError, match='image 2 of the test set, /data/2'):
        first_item(Numbers(broken=[2]), [2])


def test_the_error_survives_the_way_from_another_process():
    error = OSError('image 4 cannot be read')
    assert str(pickle.loads(pickle.dumps(error))) == 'image 4 cannot be read'
