"""How many epochs fit into the time."""

import math
from collections.abc import Mapping
from typing import Any

from cifar10.settings import METHODS, PASSES, Settings

MOST_EPOCHS = 100  # as in the paper
TEST_SHARE = 0.4  # upper bound on the share of tests; AutoAttack alone can take as long as 30 epochs of SGD
RESERVE = 1.1  # for the checkpoint of each epoch, and for errors of the measurement


def plan_for(left: float, parts: Mapping[str, Mapping[str, Any]], settings: Settings) -> dict[str, Any]:
    """Return the number of epochs and the values that determine it.

    Args:
        left: seconds for training and tests.
        parts: reports of the methods: number of images, and seconds of a step while the others run.
        settings: settings of the run.
    """
    epochs = {
        name: part['seconds_per_step'] * math.ceil(part['train_images'] / settings.batch)
        for name, part in parts.items()
    }
    passes = settings.test_images * sum(PASSES[name] for name in ('natural', *settings.attacks))
    tests = {
        name: passes * seconds_per_pass(seconds, parts[name]['train_images'], name) for name, seconds in epochs.items()
    }
    return {
        'epochs': planned_epochs(left, max(epochs.values()), max(tests.values())),
        'chosen': 'to fit the time',
        'seconds_left': left,
        'measured_seconds_per_epoch': epochs,
        'expected_seconds_of_tests': tests,
    }


def planned_epochs(left: float, epoch: float, tests: float) -> int:
    """Return the number of epochs that fit.

    Args:
        left: seconds for training and tests.
        epoch: seconds per epoch of the slowest method.
        tests: seconds of the tests of the slowest method.
    """
    training = left - min(TEST_SHARE * left, tests)
    return max(0, min(MOST_EPOCHS, int(training / (RESERVE * epoch))))


def seconds_per_pass(epoch: float, images: int, method: str) -> float:
    """Return the cost of one pass of one image through the network, in training.

    A backward pass computes gradients of weights and of activations, so a gradient counts as three passes.

    Args:
        epoch: seconds per epoch.
        images: images per epoch.
        method: name of the method.
    """
    return epoch / images / (3 * METHODS[method].gradients)
