"""Images by number, and the name of the one that cannot be read."""

import pickle

import pytest
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader, Dataset

from samat_mm.evaluation.images import first_item, read_batches


class Numbers(Dataset):
    """Its inputs are the numbers; some cannot be read."""

    def __init__(self, broken=(), error=None, info=True):
        self.broken, self.error = broken, error or KeyError('a\nb')
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
    with pytest.raises(OSError, match=r"^image 4 of the test set, /data/4\.jpg, cannot be read \('a\\nb'\); mend"):
        next(batches)


@pytest.mark.parametrize(
    ('error', 'said'), [(ValueError('first\nsecond'), r'\(first\)'), (RuntimeError(), r'\(RuntimeError\)')]
)
def test_the_sentence_is_one_line(error, said):
    with pytest.raises(OSError, match=rf'image 3 of the test set cannot be read {said}; mend the file\.$'):
        list(read(Numbers(broken=[3], error=error, info=False), [3]))


def test_the_first_item():
    assert first_item(Numbers(), [3, 4])['data_samples'] == 'sample 3'
    with pytest.raises(OSError, match='image 2 of the test set, /data/2'):
        first_item(Numbers(broken=[2]), [2])


def test_the_error_survives_the_way_from_another_process():
    error = OSError('image 4 cannot be read')
    assert str(pickle.loads(pickle.dumps(error))) == 'image 4 cannot be read'
