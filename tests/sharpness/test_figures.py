"""The content of figures, also for losses that diverge."""

import numpy as np
import pytest
import torch

from samat_mm.sharpness import Landscape
from samat_mm.sharpness.report import labels_of
from samat_mm.visualization.landscape import draw_lines, draw_plane, draw_rises, to_rgb

POSITIONS = torch.linspace(-1, 1, 5, dtype=torch.float64)
BOWL = 1 + POSITIONS[:, None].square() + 3 * POSITIONS.square()


def test_several_models_are_told_apart_by_more_than_colour():
    figure = draw_lines({'sgd': Landscape(POSITIONS, BOWL[2]), 'sam': Landscape(POSITIONS, BOWL)})
    (axes,) = figure.axes
    curves = [line for line in axes.lines if line.get_label() in ('sgd', 'sam')]
    assert len({(line.get_color(), line.get_linestyle()) for line in curves}) == 2
    assert len({line.get_linestyle() for line in curves}) == 2
    np.testing.assert_array_equal(curves[1].get_ydata(), BOWL[:, 2])  # through the weights, along the first direction
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ['sgd', 'sam']
    assert axes.get_xlabel() == 'step along a random direction (filter norms)'
    assert axes.get_ylabel() == 'training loss'
    assert axes.get_yscale() == 'linear'


def test_losses_of_several_magnitudes_are_on_a_logarithmic_axis():
    figure = draw_lines({'': Landscape(POSITIONS, 0.01 * (8 * POSITIONS.abs()).exp())})
    assert figure.axes[0].get_yscale() == 'log'
    assert figure.axes[0].get_legend() is None


def test_a_rise_per_radius():
    (axes,) = draw_rises({'sgd': [0, 0.2], 'sam': [0, 0.1]}, [0, 0.05]).axes
    assert 'radius' in axes.get_xlabel()
    assert 'loss rise' in axes.get_ylabel()
    assert [list(line.get_ydata()) for line in axes.lines[:2]] == [[0, 0.2], [0, 0.1]]


@pytest.mark.parametrize(
    'losses',
    [BOWL, BOWL.exp().square(), torch.ones(5, 5), BOWL.masked_fill(BOWL > 4, torch.inf), BOWL * torch.nan, -BOWL],
    ids=['bowl', 'steep', 'constant', 'infinite in the corners', 'nan', 'negative'],
)
def test_a_plane_of_any_losses_is_drawn(losses):
    figure = draw_plane(Landscape(POSITIONS, losses), 'a model')
    assert figure.axes[0].get_title() == 'a model'
    assert figure.axes[0].get_xlabel() == 'step along direction 1 (filter norms)'
    picture = to_rgb(figure)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert picture.std() > 5


def test_the_first_direction_is_horizontal():
    """The loss rises along the first direction alone: contours are vertical lines."""
    figure = draw_plane(Landscape(POSITIONS, POSITIONS[:, None].expand(5, 5)))
    (contours, *_) = (item for item in figure.axes[0].collections if len(item.get_paths()) > 3)
    for path in contours.get_paths():
        if len(path.vertices):
            assert np.ptp(path.vertices[:, 1]) == pytest.approx(2)


@pytest.mark.parametrize(
    ('checkpoints', 'labels'),
    [
        (['runs/sgd/iter_9.pth'], ['sgd/iter_9']),
        (['a/sgd_0/train/iter_9.pth', 'a/sam_0/train/iter_9.pth'], ['sgd_0', 'sam_0']),
        (['a/sam/iter_5.pth', 'a/sam/iter_9.pth'], ['iter_5', 'iter_9']),
        (['a/sgd/iter_5.pth', 'a/sam/iter_9.pth'], ['sgd/iter_5', 'sam/iter_9']),
        (['a/x.pth', 'a/b/x.pth'], ['a/x.pth', 'a/b/x.pth']),
    ],
)
def test_a_checkpoint_is_called_by_what_it_differs_in(checkpoints, labels):
    assert labels_of(checkpoints) == labels
