"""What metrics write under attack stands beside the files of the clean images."""

from pathlib import Path

import pytest
from mmengine.evaluator import BaseMetric, DumpResults, Evaluator

from samat_mm.evaluation.metric_copies import beside, evaluator_for


class Files(BaseMetric):
    """Holds paths of all kinds, and much that is none."""

    def __init__(self, folder):
        super().__init__(prefix='files')
        self.out_file_path, self.where, self.report = f'{folder}/a.pkl', folder / 'b', 'c.json'
        self.save_dir, self.ann_file = f'{folder}/d/', f'{folder}/labels.json'
        self.suffix, self.name, self.kind, self.number, self.nothing = '.png', 'mIoU', 'v1.2', 3, None

    def process(self, data_batch, data_samples): ...

    def compute_metrics(self, results): ...


def test_paths_that_are_written_get_the_name_of_the_attack(tmp_path):
    (tmp_path / 'labels.json').write_text('read, not written')
    given = Evaluator([Files(tmp_path)])
    before = dict(vars(given.metrics[0]))
    (copied,) = evaluator_for('pgd-linf@4/255', given).metrics
    assert copied.out_file_path == f'{tmp_path}/a-pgd-linf@4-255.pkl'
    assert copied.where == Path(f'{tmp_path}/b-pgd-linf@4-255')
    assert copied.report == 'c-pgd-linf@4-255.json'
    assert copied.save_dir == f'{tmp_path}/d-pgd-linf@4-255'
    changed = {'out_file_path', 'where', 'report', 'save_dir'}
    assert {name: value for name, value in vars(copied).items() if name not in changed} == {
        name: value for name, value in before.items() if name not in changed
    }
    assert vars(given.metrics[0]) == before


@pytest.mark.parametrize(
    ('path', 'expected'),
    [('a/b.c/d', 'a/b.c/d-x'), ('d.tar.gz', 'd.tar-x.gz'), ('out/', 'out-x'), ('.hidden', '.hidden-x')],
)
def test_beside(path, expected):
    assert beside(path, 'x') == expected


def test_mmengines_dump(tmp_path):
    given = Evaluator([DumpResults(str(tmp_path / 'predictions.pkl'))])
    assert evaluator_for('fgsm', given).metrics[0].out_file_path == str(tmp_path / 'predictions-fgsm.pkl')
