"""Mixed precision on the device: float16 under a loss scale that overflows or does not, and bfloat16."""

import copy
from typing import Any

import pytest
import test_family_amp
import torch
from small_models import FAMILY, ONE_PASS, plain_batches
from test_family_amp import Overflow, equal, finite, net, train, wrap

SCALE = 2.0**10  # small enough that nothing overflows by itself
BEFORE = 6  # steps; an ascent is due at the next one for every method


def low_precision(device: torch.device) -> str:
    """float16, which autocast has on accelerators alone; a CPU's loss scaler does the same for bfloat16."""
    return 'float16' if device.type == 'cuda' else 'bfloat16'


def started(case: str, device: torch.device) -> tuple[Any, Any, list[dict]]:
    model = net(dtype=torch.float32).to(device)
    wrapper = wrap(model, case, dtype=low_precision(device), loss_scale=dict(init_scale=SCALE))
    batches = plain_batches(BEFORE + 3, dtype=torch.float32)
    train(model, wrapper, batches[:BEFORE])
    assert wrapper.loss_scaler.get_scale() == SCALE
    return model, wrapper, batches[BEFORE:]


@pytest.mark.parametrize('case', FAMILY)
def test_an_overflow_in_either_pass_skips_the_step_and_halves_the_scale(case: str, device: torch.device) -> None:
    for where in ('second pass', None) if case in ONE_PASS else ('first pass', 'second pass', None):
        model, wrapper, (batch, *others) = started(case, device)
        overflow = Overflow(model)
        start = copy.deepcopy(dict(model.named_parameters()))
        if where:
            overflow.arm(where)
        train(model, wrapper, [batch])
        assert overflow.start is None, f'there was no {where}'
        assert wrapper.loss_scaler.get_scale() == (SCALE / 2 if where else SCALE)
        assert equal(dict(model.named_parameters()), start) == (where is not None)
        train(model, wrapper, others)
        assert not equal(dict(model.named_parameters()), start)
        assert finite(model.state_dict(), wrapper.method.state_dict())


def test_a_scale_that_is_too_large_falls_until_steps_are_taken(device: torch.device) -> None:
    """Without a hand in it: the first pass overflows in float16, where the largest number is 65504."""
    model = net(dtype=torch.float32).to(device)
    wrapper = wrap(model, 'SAM', dtype=low_precision(device), loss_scale=dict(init_scale=2.0**30))
    start = copy.deepcopy(dict(model.named_parameters()))
    (batch,) = plain_batches(1, dtype=torch.float32)
    train(model, wrapper, [batch] * 25)
    assert finite(model.state_dict())
    assert not equal(dict(model.named_parameters()), start)
    assert (wrapper.loss_scaler.get_scale() < 2.0**30) == (device.type == 'cuda')  # bfloat16 reaches as far as float32


@pytest.mark.parametrize('case', FAMILY)
def test_bfloat16_stays_near_the_full_precision(
    case: str, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_family_amp, 'net', lambda **given: net(**given).to(device))
    test_family_amp.test_the_lower_precision_stays_near_the_full_one(case)
