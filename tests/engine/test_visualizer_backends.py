"""What MMEngine's visualizer passes on: robust metrics at the right step, and pictures under names that each takes."""

import io
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import SegmentationImages, labelled_by, runner, segmentor
from mmengine.hooks import Hook
from mmengine.visualization import Visualizer
from mmengine.visualization.vis_backend import MLflowVisBackend
from mmseg.visualization import SegLocalVisualizer
from PIL import Image

from samat_mm.engine.hooks import AttackEvaluationHook, SharpnessHook

LINF = dict(type='PGD', norm='linf', eps='8/255', steps=1)
METRICS = ('mIoU', 'pgd-linf/mIoU', 'pgd-linf/aAcc', 'sharpness/sam')


class Metrics(Hook):
    priority = 'LOWEST'

    def __init__(self):
        self.seen = []

    def after_val_epoch(self, runner, metrics=None):
        self.seen.append({name: float(metrics[name]) for name in METRICS})


def trained(backends, tmp_path, kind=SegLocalVisualizer):
    """Train for four iterations with a validation after every second, and return what the hooks measured."""
    model, metrics = segmentor(), Metrics()
    hooks = [
        AttackEvaluationHook([LINF], pictures=2),
        SharpnessHook(batches=1, steps=1, probes=0, landscape='1d'),
        metrics,
    ]
    run = runner(
        model, tmp_path, train=SegmentationImages(4), evaluate=labelled_by(model, SegmentationImages(3)),
        iterations=4, val_interval=2, hooks=hooks,
        named_hooks={'logger': dict(type='LoggerHook', interval=1, log_metric_by_epoch=False)},
        visualizer=dict(type=kind.__name__, vis_backends=backends, name=tmp_path.name),
    )  # fmt: skip
    run.train()
    return metrics.seen


def test_tensorboard_gets_robust_metrics_and_pictures_by_step(tmp_path):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    seen = trained([dict(type='TensorboardVisBackend')], tmp_path)
    (file,) = tmp_path.rglob('events.out.tfevents.*')
    written = EventAccumulator(str(file), size_guidance={'images': 0})
    written.Reload()
    for name in METRICS:
        events = written.Scalars(name)
        assert [event.step for event in events] == [2, 4]
        assert [event.value for event in events] == pytest.approx([values[name] for values in seen], abs=1e-3)
    assert written.Tags()['images'] == ['pgd-linf/000000', 'pgd-linf/000001', 'loss_landscape']  # not the third image
    for name, steps in (('pgd-linf/000001', [2, 4]), ('loss_landscape', [4])):
        events = written.Images(name)
        assert [event.step for event in events] == steps
        for event in events:
            assert np.asarray(Image.open(io.BytesIO(event.encoded_image_string))).std() > 10


def test_mlflow_gets_files_that_do_not_replace_each_other(tmp_path, monkeypatch):
    """MLflow takes the suffix of a name as the format, and refuses metrics whose name has an '@'."""
    metrics, files = {}, {}

    def log_image(picture, name):
        Image.fromarray(picture).save(io.BytesIO(), Image.registered_extensions()[f'.{name.rpartition(".")[2]}'])
        assert name not in files
        files[name] = picture

    def log_metrics(values, step):
        for name, value in values.items():
            metrics.setdefault(name, []).append((step, float(value)))

    def nothing(*args, **kwargs):
        pass

    fake = SimpleNamespace(
        log_image=log_image, log_metrics=log_metrics, log_metric=nothing, log_params=nothing, log_text=nothing,
        log_artifact=nothing, end_run=nothing, set_tracking_uri=nothing, set_experiment=nothing,
        create_experiment=nothing, get_experiment_by_name=nothing, MlflowException=RuntimeError,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, 'mlflow', fake)
    monkeypatch.setattr(MLflowVisBackend, 'close', nothing)  # which uploads logs
    seen = trained([dict(type='MLflowVisBackend')], tmp_path)
    for name in METRICS:
        assert [step for step, _ in metrics[name]] == [2, 4]
        assert [value for _, value in metrics[name]] == pytest.approx([values[name] for values in seen], abs=1e-3)
    assert set(files) == {
        *(f'pgd-linf/{number:06d}_{step}.png' for number in (0, 1) for step in (2, 4)),
        'loss_landscape_4.png',
    }
    assert all(picture.dtype == np.uint8 and picture.std() > 10 for picture in files.values())


def test_the_local_backend_writes_every_picture_into_one_folder(tmp_path):
    trained([dict(type='LocalVisBackend')], tmp_path)
    pictures = sorted(path.name for path in tmp_path.rglob('*.png'))
    assert pictures == ['loss_landscape_4.png', *(f'pgd-linf-{n:06d}_{s}.png' for n in (0, 1) for s in (2, 4))]


def test_no_backend_and_no_training_are_fine(tmp_path):
    assert all(math.isfinite(values['mIoU']) for values in trained(None, tmp_path / 'none', Visualizer))
    model = segmentor()
    hooks = [AttackEvaluationHook([LINF], pictures=1)]
    visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')], name='a test alone')
    run = runner(model, tmp_path / 'test', evaluate=SegmentationImages(1), hooks=hooks, visualizer=visualizer)
    run.test()
    assert [path.name for path in (tmp_path / 'test').rglob('*.png')] == ['pgd-linf-000000_0.png']


def test_a_number_of_pictures_below_zero_is_refused():
    with pytest.raises(ValueError, match='pictures must be a number of images, 0 or more; got -1'):
        AttackEvaluationHook([LINF], pictures=-1)
