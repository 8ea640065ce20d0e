"""All of a checkpoint or nothing."""

import pytest
import torch
from helpers import assert_same_state, classifier, segmentor, state_of
from mmengine.model import ExponentialMovingAverage
from torch import nn
from torch.optim.swa_utils import AveragedModel

from samat_mm.checkpoints.loading import load_for_evaluation


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'weights.pth'


def compiled(model):
    return torch.compile(model, backend='eager')


WRAPPED = {
    'none': lambda model: model.state_dict(),
    'data parallel': lambda model: nn.DataParallel(model).state_dict(),
    'compiled': lambda model: compiled(model).state_dict(),
    'compiled in part': lambda model: [setattr(model, 'backbone', compiled(model.backbone)), model.state_dict()][1],
    'both': lambda model: compiled(nn.DataParallel(compiled(model))).state_dict(),
    'averaged by torch': lambda model: AveragedModel(model).state_dict(),
    'averaged by MMEngine': lambda model: ExponentialMovingAverage(model).state_dict(),
    'without counts of batches': lambda model: {
        key: value for key, value in model.state_dict().items() if not key.endswith('num_batches_tracked')
    },
}


@pytest.mark.parametrize('form', WRAPPED)
@pytest.mark.parametrize('place', ['top', 'state_dict'])
def test_the_right_checkpoint_fills_every_weight_and_statistic(form, place, path):
    """Whatever the model was wrapped in when it was saved."""
    source, model = segmentor(seed=1), segmentor(seed=2)
    expected, state = state_of(source), WRAPPED[form](source)
    torch.save(state if place == 'top' else {'state_dict': state, 'meta': {'epoch': 1}}, path)
    load_for_evaluation(model, str(path))
    assert_same_state(state_of(model), expected)


def test_a_model_that_is_wrapped_itself_is_filled_too(path):
    source, model = segmentor(seed=1), compiled(segmentor(seed=2))
    torch.save(source.state_dict(), path)
    load_for_evaluation(model, str(path))
    assert_same_state(state_of(model._orig_mod), state_of(source))


def test_weights_in_other_places_are_named_and_not_guessed(path):
    state = segmentor().state_dict()
    torch.save({'model': state, 'model_ema': state, 'epoch': 3}, path)
    with pytest.raises(ValueError, match=r"has no weights .* but \d+ under 'model' and \d+ under 'model_ema'; save"):
        load_for_evaluation(segmentor(), str(path))


def test_two_models_in_one_are_not_mixed(path):
    state = segmentor().state_dict()
    torch.save({**state, **{f'module.{key}': value + 1 for key, value in state.items()}}, path)
    with pytest.raises(ValueError, match=r'weights.pth has the weights of two models'):
        load_for_evaluation(segmentor(), str(path))


def spoiled(state, damage):
    key = 'decode_head.conv_seg.weight'
    if damage == 'missing':
        del state[key]
    elif damage == 'left over':
        state['auxiliary_head.weight'] = torch.ones(2)
    elif damage == 'reshaped':
        state[key] = torch.ones(7, 8, 1, 1)
    elif damage == 'statistics':
        del state['backbone.bn1.running_mean']
    return state


@pytest.mark.parametrize(
    ('damage', 'counts'),
    [
        ('missing', '1 weights are missing in it, 0 are left over and 0 have another shape .*conv_seg.weight'),
        ('left over', '0 weights are missing in it, 1 are left over and 0 have another shape .*auxiliary_head.weight'),
        ('reshaped', '0 weights are missing in it, 0 are left over and 1 have another shape .*conv_seg.weight'),
        ('statistics', '1 weights are missing in it, 0 are left over .*backbone.bn1.running_mean'),
    ],
)
def test_one_weight_too_few_too_many_or_of_another_shape_is_named_and_nothing_is_loaded(damage, counts, path):
    model = segmentor(seed=2)
    before = state_of(model)
    torch.save({'state_dict': spoiled(segmentor(seed=1).state_dict(), damage)}, path)
    with pytest.raises(ValueError, match=f'weights.pth is of another architecture than the EncoderDecoder.*{counts}'):
        load_for_evaluation(model, str(path))
    assert_same_state(state_of(model), before)


def test_a_checkpoint_of_another_architecture_is_a_sentence(path):
    torch.save({'state_dict': classifier().state_dict()}, path)
    with pytest.raises(ValueError, match=r'of another architecture than the EncoderDecoder of this config') as error:
        load_for_evaluation(segmentor(), str(path))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('content', [{}, {'state_dict': {}}, [1, 2], torch.ones(2), {'optimizer': {'lr': 1}}], ids=repr)
def test_a_file_without_weights_is_a_sentence(content, path):
    torch.save(content, path)
    with pytest.raises(ValueError, match=r'has no weights'):
        load_for_evaluation(segmentor(), str(path))


def test_a_missing_file_is_a_sentence(path):
    with pytest.raises(FileNotFoundError, match=r'weights.pth is not a file'):
        load_for_evaluation(segmentor(), str(path))
