"""Metrics write their files under attack next to those of the clean images."""

from pathlib import Path

import pytest
from mmengine.evaluator import BaseMetric, DumpResults, Evaluator

from samat_mm.evaluation.image_score import metric_results
from samat_mm.evaluation.metric_copies import beside, evaluator_for


class Files(BaseMetric):
    """Holds paths of all kinds, and much that is none."""

    def __init__(self, folder):
        super().__init__(prefix='files')
        self.out_file_path, self.where, self.report = f'{folder}/a.pkl', folder / 'b', 'c.json'
        self.save_dir, self.heatmap_dir, self.ann_file = f'{folder}/d/', 'e', f'{folder}/labels.json'
        self.nested = {'csv': [f'{folder}/f.csv', 'g'], 'writer': Writer(f'{folder}/h.log')}
        self.suffix, self.name, self.kind, self.number, self.nothing = '.png', 'accuracy/mine', 'v1.2', 3, None
        self.field, self.remote, self.gt_dir = 'pred_sem_seg.data', 's3://bucket/ann.json', 'truth'

    def process(self, data_batch, data_samples): ...

    def compute_metrics(self, results): ...


class Writer:
    def __init__(self, path):
        self.path = path


def test_paths_that_are_written_get_the_name_of_the_attack(tmp_path):
    """Whether they are there already or not: a second test finds the files of the first."""
    for name in ('labels.json', 'a.pkl', 'f.csv'):
        (tmp_path / name).write_text('of the clean images')
    given = Evaluator([Files(tmp_path)])
    before = dict(vars(given.metrics[0]))
    (copied,) = evaluator_for('pgd-linf@4/255', given).metrics
    assert copied.out_file_path == f'{tmp_path}/a-pgd-linf@4-255.pkl'
    assert copied.where == Path(f'{tmp_path}/b-pgd-linf@4-255')
    assert copied.report == 'c-pgd-linf@4-255.json'
    assert copied.save_dir == f'{tmp_path}/d-pgd-linf@4-255'
    assert copied.heatmap_dir == 'e-pgd-linf@4-255'
    assert copied.nested['csv'] == [f'{tmp_path}/f-pgd-linf@4-255.csv', 'g']
    assert copied.nested['writer'].path == f'{tmp_path}/h-pgd-linf@4-255.log'
    assert given.metrics[0].nested['writer'].path == f'{tmp_path}/h.log'
    changed = {'out_file_path', 'where', 'report', 'save_dir', 'heatmap_dir', 'nested'}
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


def test_a_metric_that_cannot_be_copied_is_named(tmp_path):
    metric = DumpResults(str(tmp_path / 'predictions.pkl'))
    with (
        (tmp_path / 'open.txt').open('w') as metric.stream,
        pytest.raises(ValueError, match='DumpResults cannot be cop'),
    ):
        evaluator_for('fgsm', Evaluator([metric]))


class Counting(Files):
    """Keeps what it saw where no resume finds it."""

    seen = 0

    def process(self, data_batch, data_samples):
        self.seen += len(data_samples)


def test_a_metric_with_a_memory_of_its_own_is_refused(tmp_path):
    with pytest.raises(ValueError, match='Counting keeps its results in seen and not in results'):
        metric_results(Evaluator([Counting(tmp_path)]), {}, object())
    assert metric_results(Evaluator([Files(tmp_path)]), {}, object()) == [[]]
