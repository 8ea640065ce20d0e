"""Situations from public bug reports, run by the tools as their reporters would: ../shared/cases, where it is there.

The numbers in issue threads depend on the processor, so the right values are computed here, on the same weights.
"""

import json
import pickle
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.utils import import_modules_from_strings

from samat_mm.pixels.pixel_space import PixelSpace
from samat_mm.presets import build_attacks
from samat_mm.tasks import Segmentation

CASES = ROOT.parent / 'shared' / 'cases'
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason='the cases are not there')


@pytest.fixture
def case(tmp_path, monkeypatch):
    """Return a function that copies a case and makes its data; its modules can be imported."""

    def copied(name):
        folder = Path(shutil.copytree(CASES / name, tmp_path / name, copy_function=shutil.copyfile))
        folder.chmod(0o755)
        runpy.run_path(str(folder / 'make.py'), run_name='__main__')
        monkeypatch.syspath_prepend(str(folder))
        return folder

    return copied


@pytest.fixture
def report(tool, tmp_path):
    """Return a function that tests and returns the report, the status and the output."""

    def tested(config, checkpoint, *arguments):
        out = tmp_path / 'report.json'
        out.unlink(missing_ok=True)
        status, _, said = tool(
            'test', config, checkpoint, '--out', out, '--work-dir', tmp_path / 'work', *arguments,
        )  # fmt: skip
        return json.loads(out.read_text()) if status == 0 else said

    return tested


def built(config_file):
    """A model of a config with weights that tell images apart, and its test set."""
    config = Config.fromfile(config_file)
    import_modules_from_strings(**config.custom_imports)
    init_default_scope(config.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    data = DATASETS.build(config.test_dataloader.dataset)
    model.train()
    with torch.no_grad():
        for _ in range(8):
            batch = model.data_preprocessor(pseudo_collate([data[index] for index in range(4)]), False)
            model.forward(batch['inputs'], mode='tensor')
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.bias is not None:
            torch.nn.init.normal_(module.weight, std=0.3)
    path = Path(config_file).parent / 'weights.pth'
    torch.save({'state_dict': model.state_dict()}, path)
    return model.eval(), data, path


def values(found, name='clean'):
    return {key: value for key, value in found['results'][name].items() if key in ('mIoU', 'aAcc', 'accuracy/top1')}


def test_01_a_head_with_one_channel(case, report, monkeypatch):
    folder = case('01-binary-sigmoid-head')
    *_, path = built(folder / 'config.py')
    monkeypatch.setattr(sys, 'argv', ['variants.py', str(path)])
    runpy.run_path(str(folder / 'variants.py'), run_name='__main__')
    attacks = [
        '--attack',
        'pgd-linf',
        'segpgd-linf',
        '--eps',
        '4/255',
        '--steps',
        '3',
        '--cfg-options',
        'custom_hooks=[]',
    ]
    two = ['model.decode_head.out_channels=2', 'model.decode_head.loss_decode.use_sigmoid=False']
    for first, second, threshold in (('one', 'two', 0.3), ('sure', 'two-sure', 0.5)):
        one = report(
            folder / 'config.py', folder / f'{first}.pth', *attacks, f'model.decode_head.threshold={threshold}'
        )
        other = report(folder / 'config.py', folder / f'{second}.pth', *attacks, *two)
        for name in ('clean', 'pgd-linf', 'segpgd-linf'):
            assert values(one, name) == values(other, name), (first, name)
        assert values(one, 'pgd-linf') != values(one)


def test_02_six_bands_and_reflectances(case, report, tmp_path):
    folder = case('02-six-bands')
    *_, path = built(folder / 'config.py')
    assert 'mIoU' in values(report(folder / 'config.py', path))
    assert 'state their range in the config: pixel_range=' in report(folder / 'config.py', path, '--attack', 'pgd-linf')
    stated = ['--attack', 'pgd-linf', '--steps', '2', '--show-dir', tmp_path / 'shown']
    found = report(folder / 'config.py', path, *stated, '--cfg-options', 'pixel_range=(0,10000)')
    assert found['evaluation']['pixel_range'] == [0, 10000]
    assert len(list((tmp_path / 'shown').rglob('*.png'))) == 4
    eight_bit = report(folder / 'config_255.py', path, *stated)
    assert values(eight_bit, 'pgd-linf') == values(found, 'pgd-linf')  # the same pixels in other units
    assert '8-bit PNG' in report(folder / 'config_255.py', path, *stated, '--export', tmp_path / 'files')


def test_04_several_labels(case, report):
    folder = case('04-multi-label')
    *_, path = built(folder / 'config.py')
    clean = report(folder / 'config.py', path)
    assert 'multi-label/mAP' in clean['results']['clean']
    assert 'per_class' not in clean
    for more in ([], ['--max-samples', '1'], ['--max-samples', '2']):
        said = report(folder / 'config.py', path, '--attack', 'pgd-linf', *more)
        assert 'cross-entropy attacks need one label per image; these have several' in said
    attacked = report(folder / 'config_attack.py', path, '--steps', '2')
    assert 'per_class' not in attacked
    assert attacked['results']['pgd']['attack']['objective'] == 'model-loss'


def test_05_dumped_predictions(case, report):
    folder = case('05-dump-results')
    model, data, path = built(folder / 'config.py')
    found = report(folder / 'config.py', path, '--attack', 'pgd-linf', '--eps', '8/255', '--steps', '2')
    clean, attacked = (
        pickle.loads((folder / name).read_bytes()) for name in ('predictions.pkl', 'predictions-pgd-linf.pkl')
    )
    assert len(clean) == len(attacked) == found['samples'] == 6
    batch = model.data_preprocessor(pseudo_collate([data[0]]), False)
    with torch.no_grad():
        (expected,) = model.forward(**batch, mode='predict')
    assert torch.equal(clean[0]['pred_sem_seg']['data'], expected.pred_sem_seg.data)
    assert not torch.equal(attacked[0]['seg_logits']['data'], clean[0]['seg_logits']['data'])


def test_06_no_labels(case, report, tool, tmp_path):
    folder = case('06-no-labels')
    *_, path = built(folder / 'config.py')
    found = report(folder / 'config.py', path)
    assert found['results'] == {'clean': {}}
    assert len(list((folder / 'submission').glob('*.png'))) == 6
    for attack in ('pgd-linf', 'segpgd-linf'):
        assert 'an attack needs labels, but the samples have none' in report(
            folder / 'config.py', path, '--attack', attack
        )


def test_07_test_time_augmentation(case, report):
    folder = case('07-tta')
    *_, path = built(folder / 'config.py')
    said = report(folder / 'config_tta.py', path, '--attack', 'pgd-linf')
    assert 'SegTTAModel averages over augmented copies' in said


def test_08_a_runner_of_the_users(case, tool, tmp_path):
    folder = case('08-own-runner')
    status, out, said = tool(
        'train', folder / 'config.py', '--work-dir', tmp_path / 'work', '--cfg-options', 'train_cfg.max_iters=1'
    )
    assert status == 0, said
    assert 'LOUD: my runner trains' in out


def test_09_a_cascade_that_ignores_a_class(case, report):
    folder = case('09-cascade-ignore')
    model, data, path = built(folder / 'config.py')
    attacks = ['pgd-linf', 'segpgd-linf']
    found = report(folder / 'config.py', path, '--attack', *attacks, '--eps', '2/255', '--steps', '3')
    for name, attack in build_attacks(attacks, ['2/255'], steps=3).items():
        assert values(found, name)['mIoU'] == pytest.approx(masked_by_hand(model, data, attack), abs=0.006)
    clean = found['per_class']['values']['clean']
    occurring = [iou for iou in clean if iou is not None]
    assert np.mean(occurring) == pytest.approx(values(found)['mIoU'], abs=0.006)


def masked_by_hand(model, data, attack):
    """The mIoU under an attack on labels whose void pixels were set to 255 beforehand."""
    intersections, unions = np.zeros(3), np.zeros(3)
    for number in range(len(data)):
        raw = pseudo_collate([data[number]])
        prepared = model.data_preprocessor(raw, False)
        (sample,) = prepared['data_samples']
        label = sample.gt_sem_seg.data[0].clone()
        sample.gt_sem_seg.data[sample.gt_sem_seg.data == 0] = 255
        space = PixelSpace(
            model, raw['inputs'], prepared['inputs'], [sample], task=Segmentation(ignored=255)
        )  # fmt: skip
        pixels = space.attack(Segmentation().fitted(attack), [number])
        with torch.no_grad():
            (result,) = model.forward(space.to_inputs(pixels), [sample], mode='predict')
        truth, guess = label[label != 0].numpy(), result.pred_sem_seg.data[0][label != 0].numpy()
        for k in range(3):
            intersections[k] += ((truth == k) & (guess == k)).sum()
            unions[k] += ((truth == k) | (guess == k)).sum()
    return 100 * np.mean((intersections / np.where(unions, unions, 1))[unions > 0])


def test_11_a_classifier_with_one_logit(case, tool, report, tmp_path):
    folder = case('11-one-logit-classifier')
    assert tool('train', folder / 'config.py', '--work-dir', tmp_path / 'trained')[0] == 0
    found = report(
        folder / 'config.py',
        tmp_path / 'trained' / 'epoch_8.pth',
        '--attack',
        'pgd-linf',
        'square-linf',
        '--eps',
        '64/255',
    )
    assert values(found)['accuracy/top1'] == 100
    for name in ('pgd-linf', 'square-linf'):
        assert values(found, name)['accuracy/top1'] == 0
    assert found['results']['square-linf']['forwards'] < 100  # and not its 5,000 queries


def test_17_images_that_the_pipeline_normalises(case, report):
    folder = case('17-normalize-in-pipeline')
    *_, path = built(folder / 'config.py')
    assert 'mIoU' in values(report(folder / 'config.py', path))
    said = report(folder / 'config.py', path, '--attack', 'pgd-linf')
    assert 'move the normalisation into data_preprocessor' in said
