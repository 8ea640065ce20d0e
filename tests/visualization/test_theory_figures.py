"""The figures of the theory draw the functions that they name."""

import numpy as np
import pytest

from samat_mm.theory import (
    FeatureModel,
    adversarial_weight,
    all_weights_sam_weight,
    exact_matching_radius,
    exact_sam_weight,
    sam_weight_paper,
    standard_weight,
)
from samat_mm.visualization.landscape import save, to_rgb
from samat_mm.visualization.theory import draw_all_weights, draw_radii, draw_weights

MODEL = FeatureModel(0.9, 0.2, 25)
TRAINED = [
    {'method': 'ST', 'eps': 0.0, 'W_trained': 0.22, 'standard_error': 0.01},
    {'method': 'AT', 'eps': 0.1, 'W_trained': 0.44, 'standard_error': 0.02},
    {'method': 'SAM', 'eps': 2.5, 'W_trained': 0.24, 'standard_error': 0.01},
    {'method': 'SAM, one side', 'eps': 2.5, 'W_trained': 0.1, 'standard_error': 0.01},
]


def lines_of(axes):
    return {line.get_label(): np.array(line.get_data()).T for line in axes.lines}


def value_at(line, place):
    return line[np.isclose(line[:, 0], place)][0, 1]


def test_weights_and_trained_points():
    left, right = draw_weights(MODEL, TRAINED).axes
    assert value_at(lines_of(left)['AT, theorem 4.2'], 0.5) == adversarial_weight(MODEL, 0.1)
    curves = lines_of(right)
    assert value_at(curves['SAM, exact'], 0.5) == exact_sam_weight(MODEL, 2.5)
    assert value_at(curves["paper's formula"], 0.2) == pytest.approx(sam_weight_paper(MODEL, 1.0))
    assert value_at(curves['corrected formula'], 1.0) == pytest.approx(standard_weight(MODEL) * 4 / 3)
    points = [axes.containers[0].lines[0].get_xydata().tolist() for axes in (left, right)]
    assert points == [[[0.0, 0.22], [0.5, 0.44]], [[0.0, 0.22], [0.5, 0.24]]]


def test_weights_without_trainings():
    assert not any(axes.containers for axes in draw_weights(MODEL).axes)


def test_radii_of_equal_weight():
    (axes,) = draw_radii(MODEL).axes
    assert value_at(lines_of(axes)['exact'], 1.0) == pytest.approx(exact_matching_radius(MODEL, 5.0) / MODEL.eta)
    assert len(axes.lines) == 3


def test_all_weights_fall_below_and_rise_above(tmp_path):
    figure = draw_all_weights([MODEL, FeatureModel(0.9, 0.1, 25)])
    below, _, above, _ = (line.get_ydata() for line in figure.axes[0].lines[:4])
    assert min(below) < 1 - 0.03
    assert max(above) > 1.3
    (place,) = figure.axes[0].lines[0].get_xdata()[[20]]
    expected = all_weights_sam_weight(MODEL, 5 * place) / standard_weight(MODEL)
    assert below[20] == pytest.approx(expected)
    assert to_rgb(figure).std() > 10
    save(figure, tmp_path / 'figure.png')
    assert (tmp_path / 'figure.png').stat().st_size < 150_000
