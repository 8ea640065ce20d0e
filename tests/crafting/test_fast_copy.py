"""The copy that attacks run on equals the model and follows its weights."""

import copy
import gc
import random
import threading
import weakref

import numpy as np
import pytest
import torch
from helpers import RandomState, assert_same_state, classifier, segmentation_sample, segmentor, state_of
from mmcv.cnn.bricks import ConvModule
from mmcv.cnn.bricks.conv_ws import ConvWS2d
from mmengine.registry import DefaultScope
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from samat_mm.crafting.fast_copy import FastCopy, faster_layout
from samat_mm.crafting.folding import ForwardTrace, close, fold
from samat_mm.networks.preact_resnet import PreActResNet
from samat_mm.networks.wide_resnet import WideResNet

INPUT = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def forward(model, memory_format=torch.contiguous_format):
    was = [(module, module.training) for module in model.modules()]
    for module in model.modules():
        module.training = False
    output = model(INPUT.contiguous(memory_format=memory_format))
    for module, training in was:
        module.training = training
    return output[-1] if isinstance(output, tuple) else output


def fast(model, dtype=torch.float32):
    return FastCopy(model, forward, dtype)


def randomised(model, seed=0):
    """Give every normalisation statistics and weights that are not those of a fresh one."""
    numbers = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                    if tensor is not None:
                        tensor.copy_(torch.rand(tensor.shape, generator=numbers) + 0.5)
    return model


def assert_copies(model, fused):
    """The copy is exact now, and after weights and statistics have changed."""
    copied = fast(model)
    assert copied.fused == fused
    for seed in (1, 2):
        torch.testing.assert_close(forward(copied.model, copied.memory_format), forward(model), rtol=1e-4, atol=1e-4)
        randomised(model, seed)
        copied.sync()
    return copied


# --------------------------------------------------------------------------------------------------- networks


def backbone(scope, **config):
    if scope == 'mmseg':
        from mmseg.registry import MODELS
    else:
        from mmpretrain.registry import MODELS
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.build(config)


def count(model, kind):
    return sum(isinstance(module, kind) for module in model.modules())


NETWORKS = {
    'resnet': lambda: backbone('mmpretrain', type='ResNet', depth=18, base_channels=8, stem_channels=8),
    'bottleneck': lambda: backbone('mmseg', type='ResNetV1c', depth=50, base_channels=4, stem_channels=4),
    'mobilenet-v2': lambda: backbone('mmseg', type='MobileNetV2', widen_factor=0.1),
    'synchronised': lambda: nn.SyncBatchNorm.convert_sync_batchnorm(
        backbone('mmpretrain', type='ResNet', depth=18, base_channels=8, stem_channels=8)
    ),
}


@pytest.mark.parametrize('name', NETWORKS)
def test_every_normalisation_after_a_convolution_is_folded(name):
    model = NETWORKS[name]()
    assert_copies(model, count(model, nn.modules.batchnorm._BatchNorm))


def test_pre_activation_networks_fold_what_follows_a_convolution_alone():
    """The second normalisation of each block; the first and the last one follow a sum, the very first is shared."""
    model = PreActResNet(18)
    assert_copies(model, 8)
    assert_copies(WideResNet(10, 1), 3)


def test_networks_without_batch_normalisation():
    arch = {'embed_dims': 24, 'num_layers': 2, 'num_heads': 2, 'feedforward_channels': 48}
    model = backbone('mmpretrain', type='VisionTransformer', arch=arch, img_size=32, patch_size=8)
    with torch.no_grad():
        model.pos_embed.normal_()
        model.cls_token.normal_()
    assert_copies(model, 0)


@pytest.mark.parametrize('changes', [{}, {'test_cfg': {'mode': 'slide', 'crop_size': (16, 16), 'stride': (8, 8)}}])
def test_segmentors(changes):
    model = segmentor(**changes)
    sample = segmentation_sample(torch.zeros(32, 32))

    def probe(model, memory_format):
        inputs = INPUT[:1].contiguous(memory_format=memory_format)
        return model.forward(inputs, [copy.deepcopy(sample)], mode='predict')[0].seg_logits.data

    copied = FastCopy(model, probe, torch.float32)
    assert copied.fused == count(model, nn.modules.batchnorm._BatchNorm)
    found, expected = (probe(each.eval(), torch.contiguous_format) for each in (copied.model, model))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------------------------------------ single layers


def conv(given=3, made=6, size=3, **settings):
    torch.manual_seed(1)
    return nn.Conv2d(given, made, size, **settings)


FOLDED = {
    'bias': lambda: nn.Sequential(conv(), nn.BatchNorm2d(6)),
    'no bias': lambda: nn.Sequential(conv(bias=False), nn.BatchNorm2d(6)),
    'groups': lambda: nn.Sequential(conv(groups=3), nn.BatchNorm2d(6)),
    'dilation, stride and padding': lambda: nn.Sequential(conv(dilation=2, stride=2, padding=3), nn.BatchNorm2d(6)),
    'reflection': lambda: nn.Sequential(conv(padding=1, padding_mode='reflect'), nn.BatchNorm2d(6)),
    'oblong': lambda: nn.Sequential(conv(size=(1, 5), dilation=(1, 2)), nn.BatchNorm2d(6)),
    'without weights': lambda: nn.Sequential(conv(), nn.BatchNorm2d(6, affine=False)),
    'mmcv': lambda: ConvModule(3, 6, 3, norm_cfg=dict(type='BN'), act_cfg=None),
}
LEFT = {
    'without statistics': lambda: nn.Sequential(conv(), nn.BatchNorm2d(6, track_running_stats=False)),
    'normalised first': lambda: nn.Sequential(nn.BatchNorm2d(3), conv()),
    'relu between': lambda: nn.Sequential(conv(), nn.ReLU(), nn.BatchNorm2d(6)),
    'relu between, in place': lambda: nn.Sequential(conv(), nn.ReLU(inplace=True), nn.BatchNorm2d(6)),
    'transposed': lambda: nn.Sequential(nn.ConvTranspose2d(3, 6, 3), nn.BatchNorm2d(6)),
    'standardised weights': lambda: nn.Sequential(ConvWS2d(3, 6, 3), nn.BatchNorm2d(6)),
    'group normalisation': lambda: nn.Sequential(conv(), nn.GroupNorm(2, 6)),
    'weight norm': lambda: nn.Sequential(parametrizations.weight_norm(conv()), nn.BatchNorm2d(6)),
    'spectral norm': lambda: nn.Sequential(parametrizations.spectral_norm(conv()), nn.BatchNorm2d(6)),
    'weight norm by hooks': lambda: nn.Sequential(nn.utils.weight_norm(conv()), nn.BatchNorm2d(6)),
    'spectral norm by hooks': lambda: nn.Sequential(nn.utils.spectral_norm(conv()), nn.BatchNorm2d(6)),
}


@pytest.mark.parametrize('name', FOLDED)
def test_what_is_folded(name):
    assert_copies(FOLDED[name](), 1)


@pytest.mark.parametrize('name', LEFT)
def test_what_is_left_as_it_is(name):
    """Also where the normalisation is a fresh one, which changes nothing yet."""
    assert_copies(LEFT[name](), 0)


class Net(nn.Module):
    """Parts by name and a forward to try."""

    def __init__(self, compute, **parts):
        super().__init__()
        self.compute = compute
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.compute(self, x)


def tied():
    first, second = conv(3, 3, padding=1), conv(3, 3, padding=1)
    second.weight = first.weight
    return nn.Sequential(first, nn.BatchNorm2d(3), second, nn.BatchNorm2d(3))


def square():
    return conv(3, 3, padding=1)


def norm():
    return nn.BatchNorm2d(3)


class Scaled(nn.Conv2d):
    """A convolution that takes more than features."""

    def forward(self, x, factor):
        return factor * super().forward(x)


WIRINGS = {
    'a convolution that takes a factor too': (
        lambda: Net(lambda net, x: net.b(net.c(x, 2.0)), c=Scaled(3, 3, 3), b=norm()),
        0,
    ),
    'the convolution goes elsewhere too': (
        lambda: Net(lambda net, x: (lambda y: net.b(y) + y)(net.c(x)), c=square(), b=norm()),
        0,
    ),
    'elsewhere without gradient': (
        lambda: Net(lambda net, x: (lambda y: net.b(y) + y.detach())(net.c(x)), c=square(), b=norm()),
        0,
    ),
    'elsewhere in a list': (
        lambda: Net(lambda net, x: (lambda y: torch.cat([net.b(y), y]))(net.c(x)), c=square(), b=norm()),
        0,
    ),
    'two normalisations of one convolution': (
        lambda: Net(lambda net, x: (lambda y: net.b(y) * net.d(y))(net.c(x)), c=square(), b=norm(), d=norm()),
        0,
    ),
    'two convolutions into one normalisation': (
        lambda: Net(lambda net, x: net.b(net.c(x)) + net.b(net.d(x)), c=square(), b=norm(), d=square()),
        0,
    ),
    'a convolution used twice, with two normalisations': (
        lambda: Net(lambda net, x: net.d(net.c(net.b(net.c(x)))), c=square(), b=norm(), d=norm()),
        0,
    ),
    'a convolution used twice, once without': (
        lambda: Net(lambda net, x: net.c(net.b(net.c(x))), c=square(), b=norm()),
        0,
    ),
    'a pair used twice': (lambda: Net(lambda net, x: net.b(net.c(net.b(net.c(x)))), c=square(), b=norm()), 1),
    'changed in place': (
        lambda: Net(lambda net, x: net.b(net.c(x).mul_(2)), c=square(), b=norm()),
        0,
    ),
    'one weight in two convolutions': (tied, 2),
    'a normalisation under two names': (
        lambda: (lambda b: Net(lambda net, x: net.second(net.c(x)), c=square(), first=b, second=b))(norm()),
        1,
    ),
    'a normalisation in a plain list': (
        lambda: (lambda b: Net(lambda net, x: net.parts[0](net.c(x)), c=square(), b=b, parts=[b]))(norm()),
        1,
    ),
    'weights of the normalisation used elsewhere': (
        lambda: Net(lambda net, x: net.b(net.c(x)) * net.b.weight.mean(), c=square(), b=norm()),
        1,
    ),
    'a normalisation called by keyword': (lambda: Net(lambda net, x: net.b(input=net.c(x)), c=square(), b=norm()), 0),
    'a convolution that is not called': (
        lambda: Net(lambda net, x: net.b(net.c(x)), c=square(), b=norm(), idle=nn.Sequential(square(), norm())),
        1,
    ),
    'no convolution': (lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4)), 0),
}


@pytest.mark.parametrize('name', WIRINGS)
def test_wirings(name):
    build, fused = WIRINGS[name]
    assert_copies(build(), fused)


def test_fold_is_the_equation():
    """``gamma (w x + b - mean) / sqrt(var + eps) + beta`` as one affine map, in double precision."""
    model = randomised(nn.Sequential(conv(), nn.BatchNorm2d(6))).double().eval()
    layer, normalisation = model
    folded = copy.deepcopy(layer)
    with torch.no_grad():
        fold(folded, layer, normalisation)
        scale = normalisation.weight / (normalisation.running_var + normalisation.eps).sqrt()
        for channel in range(6):
            assert torch.allclose(folded.weight[channel], layer.weight[channel] * scale[channel], rtol=1e-12)
        torch.testing.assert_close(folded(INPUT.double()), model(INPUT.double()), rtol=1e-10, atol=1e-10)


def test_close():
    one = torch.tensor([1.0, -100.0])
    assert close(one, one + 0.4) and not close(one, one + 0.6)
    assert not close(one, one[:1]) and not close(one, torch.tensor([1.0, torch.nan]))
    assert not close(torch.tensor([torch.nan, 1.0]), one)
    assert close(one[:0], one[:0]) and close(torch.zeros(2), torch.zeros(2))
    assert not close(torch.full((2,), torch.inf), one, tolerance=torch.inf)


# ---------------------------------------------------------------------------------------------- memory format


class Viewing(nn.Module):
    """Flattens as older classifiers do, which only contiguous features allow."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(conv(padding=1), nn.BatchNorm2d(6), nn.MaxPool2d(4))
        self.linear = nn.Linear(6 * 64, 5)

    def forward(self, x):
        return self.linear(self.features(x).view(len(x), -1))


def test_channels_last_where_the_model_can():
    assert fast(nn.Sequential(conv(), nn.BatchNorm2d(6))).memory_format == torch.channels_last
    copied = assert_copies(Viewing(), 1)
    assert copied.memory_format == torch.contiguous_format
    assert all(parameter.is_contiguous() for parameter in copied.model.parameters())


@pytest.mark.parametrize('tf32', [True, False])
def test_channels_last_on_a_gpu_where_its_tensor_cores_compute(tf32, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', tf32)
    gpu = torch.device('cuda')
    assert faster_layout(torch.bfloat16, gpu) == torch.channels_last
    assert (faster_layout(torch.float32, gpu) == torch.channels_last) is tf32


def test_parameters_of_five_axes_stay_as_they_are():
    model = Net(
        lambda net, x: net.b(net.c(x)) + net.v(x[:, :, None])[:, :, 0], c=square(), b=norm(), v=nn.Conv3d(3, 3, 1)
    )
    assert assert_copies(model, 1).memory_format == torch.channels_last


# ------------------------------------------------------------------------------------- models without a copy


class Uncopyable:
    def __deepcopy__(self, memo):
        raise ValueError('no copies of this')


def holding(thing):
    model = nn.Sequential(conv(), nn.BatchNorm2d(6))
    model.thing = thing
    return model


class Shared(nn.Conv2d):
    def __deepcopy__(self, memo):
        return self


class SharedWeight(nn.Conv2d):
    def __deepcopy__(self, memo):
        other = nn.Conv2d(3, 6, 3)
        other.weight.data = self.weight.data
        return other


@pytest.mark.parametrize('build', [lambda: holding(Uncopyable()), lambda: holding(threading.Lock())])
def test_a_model_that_cannot_be_copied(build):
    with pytest.raises(RuntimeError, match='Sequential cannot be copied: '):
        fast(build())


@pytest.mark.parametrize('kind', [Shared, SharedWeight])
def test_a_copy_that_shares_weights_is_none(kind):
    model = nn.Sequential(kind(3, 6, 3), nn.BatchNorm2d(6)).train()
    before = state_of(model)
    with pytest.raises(RuntimeError, match='shares weights'):
        fast(model)
    assert_same_state(state_of(model), before)
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize('draw', [torch.rand_like, lambda x: float(np.random.rand()), lambda x: random.random()])
def test_a_random_model(draw):
    with pytest.raises(RuntimeError, match='Net computes something else'):
        fast(Net(lambda net, x: net.c(x) + draw(net.c(x)), c=square()))


@pytest.mark.parametrize('call_first', [False, True])
def test_a_compiled_model(call_first):
    """As MMEngine compiles: the copy's forward would be that of the model, with the model's weights and modes."""
    model = nn.Sequential(conv(), nn.BatchNorm2d(6)).train()
    model.forward = torch.compile(model.forward, backend='eager')
    if call_first:
        model(INPUT)
    before = state_of(model)
    with pytest.raises(RuntimeError, match='still runs the model itself'):
        fast(model)
    assert_same_state(state_of(model), before)
    torch._dynamo.reset()


def test_a_closure_over_the_model():
    model = nn.Sequential(conv(), nn.BatchNorm2d(6)).train()
    layer, normalisation = model
    model.forward = lambda x: normalisation(layer(x))
    before = state_of(model)
    with pytest.raises(RuntimeError, match='still runs the model itself'):
        fast(model)
    assert_same_state(state_of(model), before)


def test_errors_of_the_model_are_its_own():
    def refuse(net, x):
        raise KeyError('the reason')

    with pytest.raises(KeyError, match='the reason'):
        fast(Net(refuse, c=square()))


# ------------------------------------------------------------------------------------------------------- sync


def same(copied):
    found = forward(copied.model, copied.memory_format)
    return torch.allclose(found, forward(copied.source), rtol=1e-4, atol=1e-4)


def replaced_parameter(model):
    model[0].weight = nn.Parameter(torch.randn_like(model[0].weight))


def optimizer_step(model):
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    model(INPUT).square().sum().backward()
    optimizer.step()


def ema(model):
    for parameter in model.parameters():
        parameter.data.mul_(0.5)


def statistics(model):
    model.train()
    model(3 * INPUT + 1)


def loaded(model):
    model.load_state_dict({key: value + 0.25 for key, value in model.state_dict().items()})


@pytest.mark.parametrize('change', [replaced_parameter, optimizer_step, ema, statistics, loaded])
def test_the_copy_follows(change):
    model = randomised(nn.Sequential(conv(), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1)))
    copied = fast(model)
    change(model)
    assert not same(copied)
    copied.sync()
    assert same(copied)
    assert not copied.is_outdated


def test_plain_settings_follow():
    model = Net(lambda net, x: net.b(net.c(x)) / net.temperature, c=square(), b=norm(), temperature=1.0)
    copied = fast(model)
    model.train()
    model.temperature = 0.1
    copied.sync()
    assert same(copied) and not copied.model.training


def moved_to_double(model):
    model.double()


def replaced_module(model):
    model[2] = nn.Conv2d(6, 5, 1)


def without_bias(model):
    model[0].bias = None


def heard(model):
    model[1].register_forward_hook(lambda *_: None)


def heard_before(model):
    model[0].register_forward_pre_hook(lambda *_: None)


@pytest.mark.parametrize('change', [moved_to_double, replaced_module, without_bias, heard, heard_before])
def test_changes_that_a_copy_cannot_follow(change):
    model = nn.Sequential(conv(), nn.BatchNorm2d(6), nn.Conv2d(6, 4, 1))
    copied = fast(model)
    assert copied.fused == 1 and not copied.is_outdated
    change(model)
    assert copied.is_outdated


def test_hooks_elsewhere_come_and_go():
    model = nn.Sequential(conv(), nn.BatchNorm2d(6), nn.ReLU())
    copied = fast(model)
    model.register_forward_pre_hook(lambda *_: None)
    model[2].register_forward_hook(lambda *_: None)
    assert not copied.is_outdated


# ------------------------------------------------------------------------------------------- the model itself


def test_the_model_is_left_as_it_was():
    model = classifier().train()
    model.backbone.layer1.eval()
    frozen = next(model.backbone.layer2.parameters())
    frozen.requires_grad_(False)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    modes = [module.training for module in model.modules()]
    kept = [vars(module).copy() for module in model.modules()]
    before, state = state_of(model), RandomState()

    def probe(model, memory_format):
        return model.forward(INPUT.contiguous(memory_format=memory_format), mode='tensor')

    FastCopy(model, probe, torch.bfloat16)
    assert_same_state(state_of(model), before)
    assert modes == [module.training for module in model.modules()]
    assert [parameter.requires_grad for parameter in model.parameters()].count(False) == 1 and not frozen.requires_grad
    assert all(bool((parameter.grad == 1).all()) for parameter in model.parameters())
    for module, attributes in zip(model.modules(), kept, strict=True):
        assert vars(module).keys() == attributes.keys()
        assert all(vars(module)[key] is value for key, value in attributes.items() if 'hooks' in key)
    assert state == RandomState()


@pytest.mark.parametrize('place', [0, 1, 2])
def test_hooks_that_hold_what_cannot_be_copied_are_heard(place):
    """From the copy too, and never folded away: on the normalisation and on its convolution."""

    class Listener:
        def __init__(self):
            self.heard, self.lock = [], threading.Lock()

        def __call__(self, module, args, output):
            self.heard.append((module, output))
            return output + 1

    listener = Listener()
    model = randomised(nn.Sequential(conv(), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1)))
    model[place].register_forward_hook(listener)
    copied = fast(model)
    assert copied.fused == (place == 2)
    assert list(model[place]._forward_hooks.values()) == [listener]
    listener.heard.clear()
    assert same(copied)
    (first, found), (second, expected) = listener.heard
    assert first is copied.model[place] and second is model[place]
    assert torch.allclose(found, expected, atol=1e-4)


def test_a_hook_with_keywords_that_comes_later_is_called_with_them():
    model = nn.Sequential(conv(), nn.BatchNorm2d(6), nn.ReLU())
    copied, seen = fast(model), []
    handle = model[2].register_forward_hook(lambda module, args, kwargs, output: seen.append(kwargs), with_kwargs=True)
    forward(copied.model)
    assert seen == [{}]
    handle.remove()
    forward(copied.model)
    assert len(seen) == 1


def test_wiring_leaves_no_hook():
    model = nn.Sequential(conv(), nn.BatchNorm2d(6)).eval()
    hooks = model[0]._forward_hooks
    trace = ForwardTrace(nn.Identity())
    with pytest.raises(ZeroDivisionError), trace.watch(model):
        model(INPUT)
        raise ZeroDivisionError
    assert model[0]._forward_hooks is hooks and not hooks
    assert [module for module, _, _ in trace.calls] == [model[0], model[1]]


def test_nothing_keeps_a_copy_alive():
    model = nn.Sequential(conv(), nn.BatchNorm2d(6), nn.Conv2d(6, 4, 1))
    copied = fast(model, torch.bfloat16)
    inner = weakref.ref(copied.model)
    del copied
    gc.collect()
    assert inner() is None


# -------------------------------------------------------------------------------------------------- bfloat16


def test_bfloat16_but_for_convolutions_of_the_image():
    """Two of them here; the weights of the others are kept in bfloat16."""

    class Paths(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.norm = conv(padding=1), conv(padding=1), nn.BatchNorm2d(6)
            self.deep, self.linear = nn.Conv2d(6, 6, 1), nn.Linear(6, 4)

        def forward(self, x):
            features = F.relu(self.norm(self.one(x))) + self.two(x)
            return self.linear(self.deep(features).mean((2, 3)))

    model = randomised(Paths())
    copied = fast(model, torch.bfloat16)
    kinds = {name: parameter.dtype for name, parameter in copied.model.named_parameters() if 'weight' in name}
    assert kinds == {
        'one.weight': torch.float32,
        'two.weight': torch.float32,
        'norm.weight': torch.float32,
        'deep.weight': torch.bfloat16,
        'linear.weight': torch.bfloat16,
    }
    seen = []
    copied.model.one.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    copied.sync()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = forward(copied.model, copied.memory_format)
    assert seen == [torch.float32]
    torch.testing.assert_close(found.float(), forward(model), rtol=0.05, atol=0.05)
    assert copied.fused == 1


def test_a_model_that_cannot_run_in_bfloat16():
    def compute(net, x):
        y = net.d(net.c(x))
        if y.dtype != torch.float32:
            raise TypeError('single precision alone')
        return y

    model = Net(compute, c=square(), d=square())
    assert fast(model).fused == 0
    with pytest.raises(RuntimeError, match=r'cannot run in torch\.bfloat16'):
        fast(model, torch.bfloat16)
