"""What MMEngine's runner does with files of its own, and with hooks that are left out."""

import shutil
from pathlib import Path

import pytest
import torch
from helpers import ClassificationImages, classifier, runner
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.fileio import LocalBackend
from mmengine.hooks import IterTimerHook, LoggerHook

from samat_mm.compat import load_checkpoint_file, repair_process

repair_process()

SAVE = dict(type='CheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=2)


class Rising(BaseMetric):
    """Is better each time."""

    count = 0

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        Rising.count += 1
        return {'rising': Rising.count}


def training(work_dir, iterations, **more):
    data = ClassificationImages(2)
    best = {**SAVE, 'save_best': 'rising', 'rule': 'greater'}
    return runner(
        classifier(),
        work_dir,
        train=data,
        evaluate=data,
        evaluator=Evaluator([Rising()]),
        val_interval=1,
        iterations=iterations,
        checkpoint=best,
        **more,
    )


def test_a_kill_while_saving_leaves_no_torn_checkpoint(tmp_path, monkeypatch):
    """What is half written has another name, and what had the name is still there."""

    def die_halfway(self, content, path):
        path = Path(path)
        path.write_bytes(content[: len(content) // 2])
        raise KeyboardInterrupt

    training(tmp_path, 1).train()
    before = (tmp_path / 'iter_1.pth').read_bytes()
    monkeypatch.setattr(LocalBackend, 'put', die_halfway)
    with pytest.raises(KeyboardInterrupt):
        training(tmp_path, 1).train()
    assert (tmp_path / 'iter_1.pth').read_bytes() == before
    assert (tmp_path / 'iter_1.pth.partial').exists()


def test_a_resumed_training_removes_nothing_elsewhere(tmp_path):
    """A checkpoint names the best one so far, which is removed when there is a better one, be it a folder."""
    training(tmp_path / 'run', 2).train()
    shutil.copytree(tmp_path / 'run', tmp_path / 'copy')
    precious = tmp_path / 'precious'
    (precious / 'folder').mkdir(parents=True)
    saved = load_checkpoint_file(tmp_path / 'run' / 'iter_2.pth')
    assert saved['message_hub']['runtime_info']['best_ckpt'] == str(tmp_path / 'run' / 'best_rising_iter_2.pth')
    training(tmp_path / 'copy', 3, resume=True).train()
    assert (tmp_path / 'run' / 'best_rising_iter_2.pth').exists()
    assert {path.name for path in (tmp_path / 'copy').glob('best*')} == {'best_rising_iter_3.pth'}

    saved['message_hub']['runtime_info'] |= {'best_ckpt': str(precious), 'keep_ckpt_ids': ['../../precious/x', 1, 2]}
    torch.save(saved, tmp_path / 'evil.pth')
    training(tmp_path / 'third', 4, resume=True, load_from=str(tmp_path / 'evil.pth')).train()
    assert (precious / 'folder').is_dir()


def test_any_default_hook_can_be_left_out(tmp_path):
    """MMEngine ends in an assertion without words for all but its own."""
    data = ClassificationImages(2)
    hooks = {'timer': None, 'guard': None, 'pretrained': None, 'logger': dict(type='LoggerHook', interval=3)}
    made = runner(classifier(), tmp_path, train=data)
    made._hooks = []
    made.register_default_hooks(hooks)
    kinds = [type(hook) for hook in made.hooks]
    assert LoggerHook in kinds
    assert IterTimerHook not in kinds
    assert len(kinds) == 5  # MMEngine's six without the timer
