"""Metrics that write files, models of no project, images of any bands and ranges, test sets without labels."""

import math
import pickle

import numpy as np
import pytest
import torch
from helpers import Recorder, SegmentationImages, runner, segmentor
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel, BaseTTAModel
from mmengine.runner import Runner
from test_attack_test_loop import LINF, evaluation, images_of
from torch.utils.data import DataLoader

from samat_mm.engine.hooks import AdversarialTrainingHook, AttackEvaluationHook


class Written(BaseMetric):
    """Writes what it saw to a path that nothing tells of, once per image and once in the end."""

    path = None

    def process(self, data_batch, data_samples):
        self.results += [float(sample['seg_logits']['data'].double().sum()) for sample in data_samples]

    def compute_metrics(self, results):
        type(self).path.write_text(repr(sum(results)))
        return {'sum': sum(results)}


@pytest.mark.parametrize('way', ['loop', 'hook'])
def test_files_of_metrics_hold_the_clean_results(way, tmp_path):
    Written.path = tmp_path / 'sum.txt'
    model, data = images_of('maps', 3)
    dump = dict(type='DumpResults', out_file_path=str(tmp_path / 'predictions.pkl'))
    evaluator = [dict(type='mmseg.IoUMetric'), dump, Written()]
    if way == 'loop':
        run = evaluation(model, data, tmp_path, [LINF], evaluator=evaluator)
    else:
        run = runner(model, tmp_path, evaluate=data, evaluator=evaluator, hooks=[AttackEvaluationHook([LINF])])
    metrics = run.test()
    assert metrics['pgd-linf/sum'] != metrics['sum']
    assert float(Written.path.read_text()) == pytest.approx(metrics['sum'], rel=1e-9)
    kept = {path.name: pickle.loads(path.read_bytes()) for path in tmp_path.glob('*.pkl')}
    assert set(kept) == {'predictions.pkl', 'predictions-pgd-linf.pkl'}
    sums = {name: sum(float(one['seg_logits']['data'].double().sum()) for one in found) for name, found in kept.items()}
    assert sums['predictions.pkl'] == pytest.approx(metrics['sum'], rel=1e-5)
    assert sums['predictions-pgd-linf.pkl'] == pytest.approx(metrics['pgd-linf/sum'], rel=1e-5)


class Tabular(BaseModel):
    """A model of no OpenMMLab project: its batches are (x, y) pairs."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)

    def forward(self, x, y=None, mode='tensor'):
        return self.linear(x).argmax(1) == y if mode == 'predict' else self.linear(x)


class Rate(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += [float(right) for right in data_samples]

    def compute_metrics(self, results):
        return {'rate': float(np.mean(results))}


def test_a_model_of_no_project_is_tested_clean_as_by_mmengines_own_loop(tmp_path):
    numbers = torch.Generator().manual_seed(0)
    data = [(torch.randn(3, generator=numbers), index % 2) for index in range(7)]
    loaded = DataLoader(data, batch_size=2)

    def run(**test_cfg):
        return Runner(
            Tabular(),
            str(tmp_path),
            test_dataloader=loaded,
            test_evaluator=[Rate()],
            test_cfg=test_cfg,
            log_level='ERROR',
            randomness=dict(seed=0),
            experiment_name=f'{tmp_path.name}-{len(test_cfg)}',
        )

    torch.manual_seed(0)
    expected = run(type='TestLoop').test()
    torch.manual_seed(0)
    ours = run(type='AttackTestLoop', attacks=[])
    assert ours.test() == expected
    assert ours.test_loop.result.by_attack['clean'].metrics == expected
    for more in (dict(attacks=[LINF]), dict(max_samples=3)):
        with pytest.raises(ValueError, match=r'items dict\(inputs=image, data_samples=...\).*; list has others'):
            run(type='AttackTestLoop', **more).test()


class Augmented(BaseTTAModel):
    def merge_preds(self, data_samples_list): ...


def test_test_time_augmentation_is_refused(tmp_path):
    model, data = images_of('maps', 2)
    with pytest.raises(ValueError, match='Augmented averages over augmented copies of each image'):
        _ = evaluation(Augmented(model), data, tmp_path).test_loop
    hooked = runner(
        Augmented(model), tmp_path, evaluate=data, evaluator=[dict(type='mmseg.IoUMetric')],
        hooks=[AttackEvaluationHook([LINF])],
    )  # fmt: skip
    with pytest.raises(ValueError, match='test without test-time augmentation'):
        hooked.test()


class Bands(SegmentationImages):
    """Reflectances of six bands."""

    def __init__(self, count):
        super().__init__(count)
        self.raw = [torch.cat([image, image.flip(0)]).float() * 10000 / 255 for image in self.raw]


def six_bands(count=3):
    statistics = dict(mean=[4500.0], std=[2500.0], bgr_to_rgb=False)
    return segmentor(statistics, **{'backbone.in_channels': 6}), Bands(count)


def test_images_of_any_bands_and_range(tmp_path):
    """Clean without being told anything; attacked, trained on and drawn once the range is stated."""
    model, data = six_bands()
    assert 'mIoU' in evaluation(model, data, tmp_path / 'clean').test()
    with pytest.raises(ValueError, match=r'these reach from 0 to 10000 before .* pixel_range=\(0, 10000\)'):
        evaluation(model, data, tmp_path / 'unknown', [LINF]).test()
    assert not (tmp_path / 'unknown' / 'attack_results').exists()  # refused before the work
    shown = evaluation(
        model, data, tmp_path, [LINF], pixel_range=(0, 10000), show_dir=str(tmp_path / 'shown'), max_samples=2
    )
    shown.test()
    results = shown.test_loop.result.by_attack
    assert results['pgd-linf'].loss > results['clean'].loss
    assert len(list((tmp_path / 'shown').rglob('*.png'))) == 2
    hooked = runner(
        model, tmp_path, evaluate=data, hooks=[AttackEvaluationHook([LINF], pixel_range=(0, 10000))]
    ).test()  # fmt: skip
    whole = evaluation(model, data, tmp_path, [LINF], pixel_range=(0, 10000)).test()
    assert hooked == whole
    with pytest.raises(ValueError, match=r'8-bit PNG .* these images have 6 in \(0.0, 10000.0\)'):
        evaluation(model, data, tmp_path, [LINF], pixel_range=(0, 10000), export_dir=str(tmp_path / 'e')).test()
    for bad in ('0-255', (0,), (5, 5), (0, math.inf)):
        with pytest.raises(ValueError, match='pixel_range must'):
            _ = evaluation(model, data, tmp_path, [LINF], pixel_range=bad).test_loop


def test_training_on_images_of_a_range_that_the_config_states(tmp_path):
    model, data = six_bands(4)
    hook = AdversarialTrainingHook(dict(type='PGD', norm='linf', eps='8/255', steps=1, step_size='8/255'))
    recorder = Recorder()
    run = runner(
        model, tmp_path, train=data, hooks=[hook, recorder], iterations=1,
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.0)),
        cfg=Config(dict(pixel_range=(0, 10000))),
    )  # fmt: skip
    run.train()
    clean = torch.stack([(image - 4500) / 2500 for image in data.raw])
    (inputs,) = recorder.inputs
    nearest = (inputs[:, None] - clean[None]).abs().flatten(2).amax(2).min(1).values
    assert nearest.tolist() == pytest.approx([8 / 255 * 10000 / 2500] * 2, rel=1e-3)


def test_an_attack_without_labels_is_refused_before_the_work(tmp_path):
    model, data = images_of('maps', 2)
    data.__class__ = Unlabelled
    evaluator = dict(type='mmseg.IoUMetric', format_only=True, output_dir=str(tmp_path / 'submission'))
    assert evaluation(model, data, tmp_path, evaluator=evaluator).test() == {}
    assert len(list((tmp_path / 'submission').glob('*.png'))) == 2
    with pytest.raises(ValueError, match='an attack needs labels, but the samples have none'):
        evaluation(model, data, tmp_path / 'attacked', [LINF], evaluator=evaluator).test()
    assert not (tmp_path / 'attacked' / 'attack_results').exists()


class Unlabelled(SegmentationImages):
    def __getitem__(self, index):
        item = super().__getitem__(index)
        del item['data_samples'].gt_sem_seg
        return item
