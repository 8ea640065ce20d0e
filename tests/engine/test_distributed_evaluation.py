"""Two processes give the numbers of one, also where the sampler has to repeat an image to deal them out evenly."""

import json
from pathlib import Path

import pytest
import torch
from helpers import ClassificationImages, SegmentationImages, classifier, labelled_by, runner, segmentor
from torch import distributed, multiprocessing

from samat_mm.engine.hooks import AttackEvaluationHook

ATTACKS = [
    dict(type='PGD', norm='linf', eps='32/255', steps=2),
    dict(type='PGD', norm='l2', eps=4.0, steps=2),
]
KINDS = {'maps': (segmentor, SegmentationImages), 'classes': (classifier, ClassificationImages)}


def evaluate(work_dir):
    """The metrics of five images for both kinds of model."""
    metrics = {}
    for kind, (build, data) in KINDS.items():
        model = build()
        hooks = [AttackEvaluationHook(ATTACKS)]
        run = runner(model, Path(work_dir) / kind, evaluate=labelled_by(model, data(5)), hooks=hooks, eval_batch_size=1)
        metrics[kind] = {key: float(value) for key, value in run.test().items()}
    return metrics


def one_of_two(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    metrics = evaluate(f'{folder}/two')
    Path(folder, f'{rank}.json').write_text(json.dumps(metrics))
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_metrics_of_one(tmp_path):
    multiprocessing.start_processes(one_of_two, args=(str(tmp_path),), nprocs=2, start_method='fork')
    first, second = (json.loads((tmp_path / f'{rank}.json').read_text()) for rank in range(2))
    single = evaluate(tmp_path / 'one')
    assert first == second
    for kind, metrics in single.items():
        assert any(key.startswith('pgd-l2/') for key in metrics)
        assert min(metrics.values()) < 100  # the attacks do something
        assert first[kind] == pytest.approx(metrics, rel=1e-6), kind


# ------------------------------------------------------------------------------------------ the test loop


def loop_metrics(work_dir, count, **options):
    """The metrics of the loop on some images, for both kinds of model."""
    metrics = {}
    for kind, (build, data) in KINDS.items():
        model, folder = build(), Path(work_dir) / kind
        loop = dict(type='AttackTestLoop', attacks=ATTACKS, **options)
        run = runner(model, folder, evaluate=labelled_by(model, data(count)), eval_batch_size=2, test_cfg=loop)
        metrics[kind] = {key: float(value) for key, value in run.test().items()}
    return metrics


def loop_of_two(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    with pytest.raises(ValueError, match='no evaluation to resume'):  # in both, though one has looked
        loop_metrics(f'{folder}/nothing', 2, resume=True)
    found = {
        'one image': loop_metrics(f'{folder}/two/1', 1),
        'five images': loop_metrics(f'{folder}/two/5', 5),
        'begun by one': loop_metrics(f'{folder}/one/begun', 5, resume=True),
    }
    Path(folder, f'{rank}.json').write_text(json.dumps(found))
    distributed.destroy_process_group()


@pytest.mark.slow
def test_the_loop_on_two_processes(tmp_path):
    """Also with fewer images than processes, and going on with what one process began, and the other way round."""
    single = {count: loop_metrics(tmp_path / f'one/{count}', count) for count in (1, 5)}
    loop_metrics(tmp_path / 'one/begun', 5, max_samples=2)
    multiprocessing.start_processes(loop_of_two, args=(str(tmp_path),), nprocs=2, start_method='fork')
    first, second = (json.loads((tmp_path / f'{rank}.json').read_text()) for rank in range(2))
    assert first == second
    assert first['one image'] == single[1]
    assert first['five images'] == first['begun by one'] == single[5]
    assert loop_metrics(tmp_path / 'two/5', 5, resume=True) == single[5]
    for kind in KINDS:
        (begun,) = (tmp_path / 'two/5' / kind / 'attack_results').iterdir()
        assert sorted(file.name for file in begun.glob('scores-*.sqlite')) == ['scores-0.sqlite', 'scores-1.sqlite']
