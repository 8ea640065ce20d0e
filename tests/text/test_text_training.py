"""Training sentences by config: every config of the repository, and a run that was killed."""

import math
import shutil

import pytest
import torch
from helpers import ROOT, assert_same_state
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from small_text import BAD, GOOD, TOKENS, small_model, write_reviews

from samat_mm.engine.resume import NEWEST, resume
from samat_mm.text import train_tokenizer

CONFIGS = sorted(path.stem for path in ROOT.glob('configs/distilbert*.py'))


class Killed(Hook):
    """Ends a run in the middle of its fifth iteration, as a kill would: nothing is saved any more."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 4:
            raise KeyboardInterrupt


@pytest.fixture(scope='module')
def reviews(tmp_path_factory):
    return write_reviews(tmp_path_factory.mktemp('reviews'))


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory):
    """A folder as the hub has it."""
    folder = tmp_path_factory.mktemp('pretrained')
    small_model(vocab_size=80).network.save_pretrained(folder)
    train_tokenizer(GOOD + BAD, 80).save(str(folder / 'tokenizer.json'))
    return folder


def config_of(name, reviews, pretrained, work_dir):
    """A config of the repository on a few sentences, for one epoch of two iterations."""
    config = Config.fromfile(ROOT / f'configs/{name}.py')
    config.work_dir, config.experiment_name = str(work_dir), f'{name}_{work_dir.name}'
    config.log_level = 'ERROR'
    small = dict(data_root=str(reviews), sentences=None)
    for phase in ('train', 'val', 'test'):
        loader = config[f'{phase}_dataloader']
        loader.update(num_workers=0, persistent_workers=False, batch_size=8)
        loader.dataset.update(small)
        tokenizer = loader.dataset.pipeline[0].tokenizer
        if 'dataset' in tokenizer:
            tokenizer.dataset.update(small)
        else:
            tokenizer.folder = str(pretrained)
    if 'pretrained' in config.model:
        config.model.pretrained = str(pretrained)
    config.train_cfg.max_epochs = 1
    return config


def trained(config):
    run = Runner.from_cfg(config)
    run.train()
    return run


@pytest.mark.parametrize('name', CONFIGS)
def test_every_config_trains_and_is_scored(name, reviews, pretrained, tmp_path):
    run = trained(config_of(name, reviews, pretrained, tmp_path))
    assert run.iter == 2
    scores = run.test()
    assert set(scores) == {'accuracy/top1'} and 0 <= scores['accuracy/top1'] <= 100
    assert run.model.longest == (24 if '-small' not in name else 128)


def test_the_configs_are_those_of_each_method_for_both_models():
    methods = [name.removeprefix('distilbert_rotten-tomatoes_') for name in CONFIGS if '-small' not in name]
    assert methods == ['adamw', 'fgm-at', 'freelb', 'sam']
    assert [name.rpartition('_')[2] for name in CONFIGS if '-small' in name] == methods


def test_the_papers_setting():
    config = Config.fromfile(ROOT / 'configs/distilbert_rotten-tomatoes_sam.py')
    wrapper, optimizer = config.optim_wrapper, config.optim_wrapper.optimizer
    assert (wrapper.type, wrapper.rho, config.train_cfg.max_epochs) == ('SAMOptimWrapper', 0.05, 3)
    assert (optimizer.type, optimizer.lr) == ('AdamW', 5e-5)


@pytest.mark.parametrize(('method', 'radius'), [('fgm-at', 0.1), ('freelb', 0.1)])
def test_the_small_model_is_trained_on_perturbed_sentences_after_the_first_epoch(method, radius, reviews, tmp_path):
    config = config_of(f'distilbert-small_rotten-tomatoes_{method}', reviews, None, tmp_path)
    config.train_cfg.max_epochs = 3
    lengths = []

    class Lengths(Hook):
        priority = 'LOWEST'

        def before_train(self, runner):
            runner.model.register_forward_pre_hook(self.keep, with_kwargs=True)

        def keep(self, model, args, kwargs):
            if 'perturbation' in kwargs:
                lengths.append(float(kwargs['perturbation'].flatten(1).norm(dim=1).max()))

    run = Runner.from_cfg(config)
    run.register_hook(Lengths())
    run.train()
    assert len(lengths) == 6 and max(lengths[:2]) < 1e-5
    assert all(radius / 2 < length <= radius * (1 + 1e-4) for length in lengths[2:])


def test_sam_starts_after_the_first_epoch_of_the_small_model():
    config = Config.fromfile(ROOT / 'configs/distilbert-small_rotten-tomatoes_sam.py')
    assert config.optim_wrapper.start_iter == -(-8530 // config.train_dataloader.batch_size)


def test_sharpness_is_measured_as_for_images(reviews, tmp_path):
    config = config_of('distilbert-small_rotten-tomatoes_sam', reviews, None, tmp_path)
    config.default_hooks.sharpness = dict(type='SharpnessHook', batches=1, steps=1, probes=2, landscape='none')
    seen = {}

    class Metrics(Hook):
        def after_val_epoch(self, runner, metrics=None):
            seen.update(metrics)

    run = Runner.from_cfg(config)
    run.register_hook(Metrics(), priority='LOWEST')
    run.train()
    assert seen['sharpness/sam'] > 0 and math.isfinite(seen['sharpness/top_eigenvalue'])


@pytest.mark.parametrize('method', ['sam', 'freelb'])
def test_a_killed_training_ends_as_if_it_had_not_been(method, reviews, tmp_path):
    def config(name):
        chosen = config_of(f'distilbert-small_rotten-tomatoes_{method}', reviews, None, tmp_path / name)
        chosen.train_cfg.max_epochs = 4
        chosen.model.architecture.update(dim=16, hidden_dim=16, vocab_size=TOKENS * 10)
        for phase in ('train', 'val', 'test'):
            chosen[f'{phase}_dataloader'].dataset.pipeline[0].tokenizer.size = TOKENS * 10
        return chosen

    whole = trained(config('whole'))
    assert whole.iter == 8
    killed = Runner.from_cfg(config('killed'))
    killed.register_hook(Killed(), priority='HIGHEST')
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    shutil.rmtree(tmp_path / 'killed/vis_data', ignore_errors=True)
    torch.manual_seed(99)
    again = Runner.from_cfg(config('killed'))
    resume(again, NEWEST)
    again.train()
    assert again.iter == 8
    assert_same_state(again.model.state_dict(), whole.model.state_dict())
