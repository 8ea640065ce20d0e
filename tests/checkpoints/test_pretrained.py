"""Backbone weights from a local file, by the names of torchvision and of OpenMMLab."""

import random

import numpy as np
import pytest
import torch
from helpers import SegmentationImages, assert_same_state, runner, segmentor, state_of
from mmengine.registry import DefaultScope

from samat_mm.checkpoints.pretrained import load_backbone
from samat_mm.engine.hooks import PretrainedBackboneHook

torchvision = pytest.importorskip('torchvision')  # after samat_mm.compat, which makes it importable next to any torch


def mmseg_backbone(**config):
    from mmseg.registry import MODELS

    with DefaultScope.overwrite_default_scope('mmseg'):
        return MODELS.build(config)


def unusual(model, seed=0):
    """Random weights and statistics, to distinguish all entries."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if key.endswith('running_var'):
                value.uniform_(0.5, 1.5)
            elif value.is_floating_point() and value.ndim == 1:
                value.add_(0.1 * torch.randn_like(value))
    return model.eval()


def mobilenet():
    theirs = unusual(torchvision.models.mobilenet_v2(weights=None))
    ours = mmseg_backbone(type='MobileNetV2', widen_factor=1.0, out_indices=(6,))
    # mmseg leaves out the last 1x1 convolution, the classifier's
    return theirs, ours, lambda pixels: theirs.features[:18](pixels)


def resnet():
    theirs = unusual(torchvision.models.resnet50(weights=None))
    ours = mmseg_backbone(type='ResNet', depth=50, out_indices=(3,), style='pytorch')
    body = torch.nn.Sequential(*list(theirs.children())[:-2])
    return theirs, ours, body


@pytest.fixture(params=[mobilenet, resnet], ids=['MobileNetV2', 'ResNet-50'])
def pair(request):
    return request.param()


@pytest.fixture
def pixels():
    return torch.randn(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))


def deepest(backbone, pixels):
    features = backbone(pixels)
    return features[-1] if isinstance(features, tuple) else features


@pytest.mark.parametrize('file', ['bare.pth', 'wrapped.pth', 'arrays.npz'])
def test_torchvisions_weights_give_torchvisions_features(pair, pixels, file, tmp_path):
    """As a bare state_dict, with the prefixes of a wrapper and a whole model, and as arrays."""
    theirs, ours, features = pair
    ours.eval()
    state = theirs.state_dict()
    if file == 'bare.pth':
        torch.save(state, tmp_path / file)
    elif file == 'wrapped.pth':
        torch.save({'state_dict': {f'module.backbone.{key}': value for key, value in state.items()}}, tmp_path / file)
    else:
        np.savez(tmp_path / file, **{key: value.numpy() for key, value in state.items()})
    with torch.no_grad():
        expected = features(pixels)
        assert not torch.allclose(deepest(ours, pixels), expected, atol=1e-3)
        load_backbone(ours, tmp_path / file)
        torch.testing.assert_close(deepest(ours, pixels), expected, rtol=1e-6, atol=1e-6)


def test_openmmlabs_own_names_work_too(tmp_path):
    first, second = (mmseg_backbone(type='MobileNetV2', out_indices=(6,)) for _ in range(2))
    unusual(first)
    torch.save(
        {'state_dict': {f'backbone.{key}': value for key, value in first.state_dict().items()}}, tmp_path / 'a.pth'
    )
    load_backbone(second, tmp_path / 'a.pth')
    assert_same_state(state_of(first), state_of(second))


def test_weights_of_another_backbone_are_refused_whole(pixels, tmp_path):
    """Nothing is loaded unless everything is."""
    _, ours, _ = mobilenet()
    other = torchvision.models.resnet18(weights=None)
    torch.save(other.state_dict(), tmp_path / 'resnet18.pth')
    before = state_of(ours)
    with pytest.raises(ValueError, match=r'resnet18.pth does not hold the weights of this MobileNetV2: \d+ of \d+'):
        load_backbone(ours, tmp_path / 'resnet18.pth')
    assert_same_state(state_of(ours), before)


@pytest.mark.parametrize('damage', ['missing', 'reshaped'])
def test_one_wrong_weight_is_named(damage, tmp_path):
    backbone = mmseg_backbone(type='ResNet', depth=18, base_channels=4, stem_channels=4)
    state = dict(backbone.state_dict())
    if damage == 'missing':
        del state['layer2.0.bn1.weight']
    else:
        state['layer2.0.bn1.weight'] = torch.ones(3)
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r'1 of \d+ are missing or have another shape, including layer2.0.bn1.weight'):
        load_backbone(backbone, tmp_path / 'a.pth')


def no_checkpoint(path, content):
    if content == 'text':
        path.write_text('not a checkpoint')
    elif content == 'truncated':
        np.savez(path, weight=np.ones(1000)) if path.suffix == '.npz' else torch.save({'w': torch.ones(1000)}, path)
        path.write_bytes(path.read_bytes()[:700])
    elif content == 'other':
        if path.suffix == '.npz':
            path.write_bytes(b'')
        else:
            torch.save([torch.ones(2)], path)
    return path


@pytest.mark.parametrize('suffix', ['pth', 'npz'])
@pytest.mark.parametrize('content', ['text', 'truncated', 'other'])
def test_what_is_no_file_of_weights_is_a_sentence_with_its_name(suffix, content, tmp_path):
    path = no_checkpoint(tmp_path / f'weights.{suffix}', content)
    with pytest.raises(ValueError, match=f'weights.{suffix}'):
        load_backbone(mmseg_backbone(type='ResNet', depth=18, base_channels=4, stem_channels=4), path)


@pytest.mark.parametrize('suffix', ['pth', 'npz'])
def test_a_flipped_bit_is_seen_wherever_it_matters(suffix, tmp_path):
    """Refused with the file's name, or the same weights."""
    backbone = mmseg_backbone(type='ResNet', depth=18, base_channels=2, stem_channels=2)
    state, path = backbone.state_dict(), tmp_path / f'weights.{suffix}'
    if suffix == 'npz':
        np.savez(path, **{key: value.numpy() for key, value in state.items()})
    else:
        torch.save(state, path)
    expected, content, refused = state_of(backbone), path.read_bytes(), 0
    for seed in range(40):
        source, changed = random.Random(seed), bytearray(content)
        changed[source.randrange(len(changed))] ^= 1 << source.randrange(8)
        path.write_bytes(changed)
        try:
            load_backbone(backbone, path)
        except ValueError as error:
            assert path.name in str(error)
            refused += 1
        assert_same_state(state_of(backbone), expected)
    assert refused > 10


@pytest.mark.parametrize('suffix', ['pth', 'npz'])
def test_a_missing_file_is_a_sentence(suffix, tmp_path):
    with pytest.raises(FileNotFoundError, match=f'weights.{suffix}'):
        load_backbone(mmseg_backbone(type='ResNet', depth=18), tmp_path / f'weights.{suffix}')


# ----------------------------------------------------------------------------------------------- the hook


def train(tmp_path, checkpoint, **more):
    """One iteration at learning rate 0: the backbone's weights are those of the start."""
    model = segmentor(seed=1)
    run = runner(
        model,
        tmp_path / 'run',
        train=SegmentationImages(2),
        iterations=1,
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.0)),
        hooks=[PretrainedBackboneHook(str(checkpoint), source='the moon')],
        **more,
    )
    run.train()
    return dict(model.backbone.named_parameters())


def test_the_hook_fills_the_backbone_before_the_first_iteration(tmp_path):
    source = segmentor(seed=7).backbone
    torch.save(source.state_dict(), tmp_path / 'backbone.pth')
    trained = train(tmp_path, tmp_path / 'backbone.pth')
    assert all(torch.equal(trained[key], value) for key, value in source.named_parameters())


def test_the_hook_leaves_a_fine_tuned_model_alone(tmp_path):
    other = segmentor(seed=8)
    torch.save({'state_dict': other.state_dict()}, tmp_path / 'whole.pth')
    torch.save(segmentor(seed=7).backbone.state_dict(), tmp_path / 'backbone.pth')
    trained = train(tmp_path, tmp_path / 'backbone.pth', load_from=str(tmp_path / 'whole.pth'))
    assert all(torch.equal(trained[key], value) for key, value in other.backbone.named_parameters())


def test_without_the_file_the_hook_says_where_such_weights_come_from(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'come from the moon'):
        train(tmp_path, tmp_path / 'nothing.pth')
