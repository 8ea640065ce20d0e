"""tools/test.py on the device gives the numbers that it gives on the CPU."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmengine.device.utils
import pytest
import torch
from helpers import ROOT, classifier, classifier_config, segmentor

IMAGES = 16
CLASSIFIER = """
custom_imports = dict(imports=['samat_mm', 'helpers'], allow_failed_imports=False)
default_scope = 'mmpretrain'
model = {model}
test_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='RegisteredLabelledImages', count={count}, test_mode=True),
)
test_evaluator = dict(type='Accuracy')
test_cfg = dict()
log_level = 'ERROR'
"""
DIGITS = """
_base_ = {base!r}
model = {model}
test_dataloader = dict(dataset=dict(length={count}))
log_level = 'ERROR'
"""
SMALL_DIGITS = dict(
    data_preprocessor=dict(size=(64, 64)),
    backbone=dict(base_channels=4, stem_channels=4),
    decode_head=dict(in_channels=32, channels=8),
)
# In points: how far the shares of right images and pixels may lie apart. One image of the classifier is 6.25; of the
# pixels, those near a boundary may fall on either side, more of them after an attack.
BOUNDS = {'classifier': {'clean': 0.0, 'attacked': 100 / IMAGES}, 'digits': {'clean': 0.1, 'attacked': 1.0}}


def written(kind: str, folder: Path) -> list[Path]:
    """Write the config and the checkpoint of a model, and return their paths."""
    if kind == 'classifier':
        text = CLASSIFIER.format(model=classifier_config().to_dict(), count=IMAGES)
        model = classifier()
    else:
        base = str(ROOT / 'configs' / 'deeplabv3_digits_sgd.py')
        text = DIGITS.format(base=base, model=SMALL_DIGITS, count=IMAGES)
        model = segmentor(**{'decode_head.num_classes': 11})
    (folder / 'config.py').write_text(text)
    torch.save({'state_dict': model.state_dict()}, folder / 'right.pth')
    return [folder / 'config.py', folder / 'right.pth']


@pytest.mark.parametrize('kind', BOUNDS)
def test_the_metrics_are_those_of_the_cpu(
    kind: str, device: torch.device, tool: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, reports = written(kind, tmp_path), {}
    for place in (device.type, 'cpu'):
        monkeypatch.setattr(mmengine.device.utils, 'DEVICE', place)
        out = tmp_path / place / 'report.json'
        status, _, errors = tool(
            'test', *files, '--work-dir', tmp_path / place / 'work', '--out', out, '--attack', 'pgd-linf', 'pgd-l2',
            '--steps', 5, '--craft-dtype', 'float32',
        )  # fmt: skip
        assert status == 0, errors
        reports[place] = json.loads(out.read_text())
    assert all(report['samples'] == IMAGES for report in reports.values())
    found, expected = (reports[place]['results'] for place in (device.type, 'cpu'))
    assert list(found) == list(expected) == ['clean', 'pgd-linf', 'pgd-l2']
    for name, metrics in expected.items():
        assert_close(found[name], metrics, BOUNDS[kind]['clean' if name == 'clean' else 'attacked'])
    assert expected['pgd-linf'] != expected['clean']


def assert_close(found: dict[str, Any], expected: dict[str, Any], bound: float) -> None:
    compared = [name for name in ('accuracy/top1', 'aAcc', 'mIoU', 'mAcc') if name in expected]
    assert compared
    for name in compared:
        assert abs(found[name] - expected[name]) <= bound + 1e-9, f'{name}: {found[name]} and {expected[name]}'
