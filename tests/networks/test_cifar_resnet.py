"""The models of the paper's classification tables, against plain functional ones written from the papers."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT
from mmcv.cnn import fuse_conv_bn
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner.utils import set_random_seed
from torch.nn import functional as F

import samat_mm
from samat_mm.checkpoints.loading import load_for_evaluation

REAL_DATA = ROOT / '../shared/data'
convert = runpy.run_path(str(ROOT / 'benchmarks' / 'resnet20_checkpoint.py'))['convert']


def build(name, **changes):
    """The model of a config, with unusual weights and statistics, so that no two entries can be confused."""
    config = Config.fromfile(ROOT / 'configs' / f'{name}_cifar10_sgd.py')
    config.model.backbone.update(changes)
    set_random_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build({**config.model, 'data_preprocessor': config.data_preprocessor})
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if key.endswith('running_var'):
                value.uniform_(0.5, 1.5)
            elif value.is_floating_point() and value.ndim == 1:
                value.add_(0.1 * torch.randn_like(value))
    return model.eval()


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def tensors(state, key):
    return [state[f'{key}.{name}'] for name in ('running_mean', 'running_var', 'weight', 'bias')]


def relu_norm(state, key, x):
    return F.relu(F.batch_norm(x, *tensors(state, key)))


def plain_resnet(state, x, blocks):
    """He et al. (2016), section 4.2, option A, under the names of the public checkpoint."""
    x = relu_norm(state, 'bn1', F.conv2d(x, state['conv1.weight'], padding=1))
    for stage in (1, 2, 3):
        for block in range(blocks):
            key = f'layer{stage}.{block}'
            stride = 2 if stage > 1 and block == 0 else 1
            y = F.conv2d(x, state[f'{key}.conv1.weight'], stride=stride, padding=1)
            y = F.conv2d(relu_norm(state, f'{key}.bn1', y), state[f'{key}.conv2.weight'], padding=1)
            y = F.batch_norm(y, *tensors(state, f'{key}.bn2'))
            shortcut = torch.zeros_like(y)
            extra = (y.shape[1] - x.shape[1]) // 2
            shortcut[:, extra : extra + x.shape[1]] = x[:, :, ::stride, ::stride]
            x = F.relu(y + shortcut)
    return F.linear(x.mean((2, 3)), state['linear.weight'], state['linear.bias'])


def plain_preactivation(state, x, blocks):
    """He et al. (2016b), figure 4 (e), and Zagoruyko and Komodakis (2016), figure 1, without dropout."""
    x = F.conv2d(x, state['backbone.layers.0.weight'], padding=1)
    for stage, length in enumerate(blocks, 1):
        for block in range(length):
            key = f'backbone.layers.{stage}.{block}'
            stride = 2 if stage > 1 and block == 0 else 1
            activated = relu_norm(state, f'{key}.bn1', x)
            if f'{key}.shortcut.weight' in state:
                x = F.conv2d(activated, state[f'{key}.shortcut.weight'], stride=stride)
            y = F.conv2d(activated, state[f'{key}.conv1.weight'], stride=stride, padding=1)
            x = x + F.conv2d(relu_norm(state, f'{key}.bn2', y), state[f'{key}.conv2.weight'], padding=1)
    x = relu_norm(state, 'backbone.norm', x)
    return F.linear(x.mean((2, 3)), state['head.fc.weight'], state['head.fc.bias'])


def public_names(model):
    """The weights of a ResNet under the names of the public checkpoint, without those that it lacks."""
    names = {key: key.replace('backbone.', '').replace('head.fc.', 'linear.') for key in model.state_dict()}
    return {names[key]: value for key, value in model.state_dict().items() if not key.endswith('num_batches_tracked')}


@pytest.fixture
def images():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


# ---------------------------------------------------------------------------------------------- the networks


@pytest.mark.parametrize('depth', [20, 32])
def test_cifar_resnet_is_that_of_the_paper(depth, images):
    model = build('resnet20', depth=depth)
    with torch.no_grad():
        expected = plain_resnet(public_names(model), images, (depth - 2) // 6)
        torch.testing.assert_close(model(images, mode='tensor'), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ('name', 'changes', 'blocks'),
    [
        ('preactresnet18', {}, (2, 2, 2, 2)),
        ('wrn28-10', dict(depth=16, widen_factor=2), (2, 2, 2)),
        ('wrn28-10', dict(depth=10, widen_factor=1), (1, 1, 1)),  # a stem as wide as the first stage: no 1x1 there
    ],
)
def test_pre_activation_networks_are_those_of_their_papers(name, changes, blocks, images):
    model = build(name, **changes)
    if name == 'wrn28-10':
        model.head.fc = torch.nn.Linear(64 * changes['widen_factor'], 10)
    with torch.no_grad():
        expected = plain_preactivation(model.state_dict(), images, blocks)
        torch.testing.assert_close(model(images, mode='tensor'), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('name', 'changes', 'millions', 'exactly'),
    [
        # He et al. (2016), table 6
        ('resnet20', {}, '0.27', None),
        ('resnet20', dict(depth=32), '0.46', None),
        ('resnet20', dict(depth=56), '0.85', None),
        # the public PreActResNet-18 has 11,171,146 without a final normalisation (2 x 512)
        ('preactresnet18', {}, '11.17', 11_171_146 + 1024),
        # Zagoruyko and Komodakis (2016), table 4: 36.5 M; RobustBench counts 36.48 M
        ('wrn28-10', {}, '36.48', None),
    ],
)
def test_parameters_are_as_many_as_published(name, changes, millions, exactly):
    model = build(name, **changes)
    assert f'{count(model) / 1e6:.2f}' == millions
    assert exactly is None or count(model) == exactly


def test_dropout_acts_in_training_alone(images):
    model = build('wrn28-10', depth=10, widen_factor=1)
    first, second = (model.backbone(images)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)] == [0.3] * 3
    model.train()
    first, second = (model.backbone(images)[0] for _ in range(2))
    assert not torch.allclose(first, second)


@pytest.mark.parametrize('name', ['resnet20', 'preactresnet18', 'wrn28-10'])
def test_fusing_by_the_order_of_children_keeps_the_function(name, images):
    model = build(name)
    with torch.no_grad():
        expected = model(images, mode='tensor')
        torch.testing.assert_close(fuse_conv_bn(model)(images, mode='tensor'), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('name', ['resnet20', 'preactresnet18', 'wrn28-10'])
def test_initial_weights_are_those_of_he(name):
    """Variance 2 / (k^2 C_out), which keeps the size of gradients through ReLUs."""
    model = build(name)
    set_random_seed(0)
    model.init_weights()
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.numel() > 5000:
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert float(module.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(type='CIFARResNet', depth=18), r'CIFARResNet has a depth of 6n \+ 2, such as 20, 32 or 56; got 18'),
        (dict(type='CIFARResNet', depth=2), 'got 2'),
        (dict(type='PreActResNet', depth=50), 'PreActResNet has a depth of 18 or 34; got 50'),
        (dict(type='WideResNet', depth=20), r'WideResNet has a depth of 6n \+ 4, such as 16, 28 or 40; got 20'),
        (dict(type='WideResNet', widen_factor=0), 'widen_factor must be at least 1; got 0'),
    ],
)
def test_depths_that_are_none_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(config)


@pytest.mark.parametrize('name', ['resnet20', 'preactresnet18', 'wrn28-10'])
def test_sam_is_a_diff_of_the_optimizer(name):
    sgd, sam = (Config.fromfile(ROOT / 'configs' / f'{name}_cifar10_{method}.py') for method in ('sgd', 'sam'))
    assert sam.optim_wrapper.pop('rho') == 0.1
    assert sam.optim_wrapper.pop('type') == 'SAMOptimWrapper'
    assert sgd.optim_wrapper.pop('type') == 'OptimWrapper'
    assert sam.to_dict() == sgd.to_dict()
    assert sgd.custom_imports.imports == [samat_mm.__name__]


# -------------------------------------------------------------------------------------- the public checkpoint


def public_checkpoint(path, depth=20):
    state = {f'module.{key}': value for key, value in public_names(build('resnet20', depth=depth)).items()}
    # The file is in PyTorch's format from before zip files.
    torch.save({'best_prec1': 91.78, 'state_dict': state}, path, _use_new_zipfile_serialization=False)
    return state


def test_conversion_keeps_the_function(tmp_path, images):
    public_checkpoint(tmp_path / 'public.th')
    model, expected = build('resnet20'), build('resnet20')
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    torch.save({'state_dict': convert(tmp_path / 'public.th')}, tmp_path / 'ours.pth')
    load_for_evaluation(model, str(tmp_path / 'ours.pth'))
    with torch.no_grad():
        assert torch.equal(model(images, mode='tensor'), expected(images, mode='tensor'))


def another_depth(path):
    public_checkpoint(path, depth=32)


def a_missing_weight(path):
    state = public_checkpoint(path)
    del state['module.layer2.0.bn1.weight']
    torch.save({'state_dict': state}, path)


def another_shape(path):
    state = public_checkpoint(path)
    state['module.linear.weight'] = torch.ones(100, 64)
    torch.save({'state_dict': state}, path)


def no_dict(path):
    torch.save([torch.ones(2)], path)


def an_object(path):
    torch.save({'state_dict': {'module.conv1.weight': torch.ones(1), 'hidden': Path('code')}}, path)


def weights_that_are_none(path):
    torch.save({'state_dict': {'module.conv1.weight': 'a text', 1: torch.ones(1)}}, path)


def text(path):
    path.write_text('not a checkpoint')


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (another_depth, r'backbone.layer1.3.bn1.bias and others are missing, left over or of another shape'),
        (a_missing_weight, 'backbone.layer2.0.bn1.weight'),
        (another_shape, 'head.fc.weight'),
        (no_dict, "expected a dict with 'state_dict' in it"),
        (an_object, 'was refused: it holds pathlib'),
        (weights_that_are_none, 'does not hold the weights'),
        (text, 'damaged or not a checkpoint'),
    ],
)
def test_a_wrong_file_is_a_sentence_with_its_name(damage, message, tmp_path):
    path = tmp_path / 'wrong.th'
    damage(path)
    with pytest.raises(ValueError, match=message) as error:
        convert(path)
    assert str(path) in str(error.value) and '\n' not in str(error.value)


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nothing.th is not a file'):
        convert(tmp_path / 'nothing.th')


def test_the_real_checkpoint_is_as_accurate_as_published(tmp_path):
    source, data = REAL_DATA / 'cifar10_resnet20-12fca82f.th', REAL_DATA / 'cifar10_lossless_subset.npz'
    if not (source.is_file() and data.is_file()):
        pytest.skip(f'the checkpoint and exact images of CIFAR-10 are not in {REAL_DATA}')
    torch.save({'state_dict': convert(source)}, tmp_path / 'ours.pth')
    model = build('resnet20')
    load_for_evaluation(model, str(tmp_path / 'ours.pth'))
    with np.load(data) as arrays:
        images = torch.from_numpy(arrays['test_images'][:256]).permute(0, 3, 1, 2)
        labels = torch.from_numpy(arrays['test_labels'][:256]).long()
    with torch.no_grad():
        inputs = model.data_preprocessor({'inputs': images})['inputs']
        correct = model(inputs, mode='tensor').argmax(1) == labels
    assert float(correct.float().mean()) > 0.9
