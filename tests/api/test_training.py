"""Training in Python: seeds, the model in memory, learning rates, and what the terminal shows."""

import pytest
import torch
from helpers import segmentor, segmentor_config
from mmengine.config import Config

import samat_mm

ITERATIONS = 3


def training(work_dir, **more):
    data = dict(type='RegisteredImages', count=4, test_mode=False)
    return Config(
        dict(
            default_scope='mmseg',
            model=segmentor_config().to_dict(),
            train_dataloader=dict(batch_size=2, sampler=dict(type='InfiniteSampler', shuffle=True), dataset=data),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=ITERATIONS, val_interval=ITERATIONS),
            optim_wrapper=dict(type='SAMOptimWrapper', rho=0.1, optimizer=dict(type='SGD', lr=0.1)),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=ITERATIONS, by_epoch=False)),
            work_dir=str(work_dir),
            **more,
        )
    )


def weights(runner):
    return torch.cat([parameter.detach().flatten() for parameter in runner.model.parameters()])


def test_a_seed_repeats_a_training_and_another_one_does_not(tmp_path, capfd):
    runs = [
        samat_mm.train(training(tmp_path / str(number)), seed=seed, deterministic=seed == 1)
        for number, seed in enumerate((1, 1, 2))
    ]
    torch.use_deterministic_algorithms(False)
    one, same, other = map(weights, runs)
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert runs[0].cfg.randomness.to_dict() == dict(seed=1, deterministic=True)
    said = capfd.readouterr().out.splitlines()
    assert len(said) < 12 * len(runs), '\n'.join(said)
    assert said[0].split() == ['config', 'in', 'memory']
    assert any('over weights by SAM(rho=0.1)' in line for line in said)
    assert said[-1] == f'Checkpoint: {tmp_path / "2" / f"iter_{ITERATIONS}.pth"}'
    log = next((tmp_path / '0').rglob('*.log')).read_text()
    assert 'Hooks will be executed in the following order' in log and 'Saving checkpoint at 3 iterations' in log


def test_a_model_in_memory_is_trained_itself(tmp_path):
    model = segmentor()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    runner = samat_mm.train(training(tmp_path), model, cfg_options={'train_cfg.max_iters': 1})
    assert runner.model is model and runner.iter == 1
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_the_learning_rate_is_scaled_to_the_batch(tmp_path):
    given = training(tmp_path, auto_scale_lr=dict(enable=False, base_batch_size=8))
    runner = samat_mm.train(given, auto_scale_lr=True)
    assert runner.optim_wrapper.optimizer.param_groups[0]['lr'] == pytest.approx(0.1 * 2 / 8)
    with pytest.raises(ValueError, match=r'--auto-scale-lr needs .* in the config; got None'):
        samat_mm.train(training(tmp_path), auto_scale_lr=True)


def test_what_is_missing_is_said(tmp_path):
    given = training(tmp_path)
    given.pop('optim_wrapper')
    with pytest.raises(ValueError, match='the config has no optim_wrapper, which training needs'):
        samat_mm.train(given)
    with pytest.raises(ValueError, match='--resume expects the path of a checkpoint'):
        samat_mm.train(training(tmp_path), resume_from='')
