"""Curves over the radius and bars per class, read back from the figures."""

import matplotlib
import numpy as np
import pytest

from samat_mm.visualization.class_bars import class_key, draw_class_bars, drawn_classes, shown_attacks, sorted_by_drop
from samat_mm.visualization.document import in_255ths, main_metric
from samat_mm.visualization.robustness_curves import curves_of, draw_curves

NAN = float('nan')


def result(value, eps=None, norm='linf'):
    attack = {'type': 'PGD'} if eps is None else {'type': 'PGD', 'norm': norm, 'eps': eps / 255}
    return {'mIoU': value, 'aAcc': 1.0, 'attack': attack}


SWEEP = {
    'results': {
        'clean': {'mIoU': 70.0, 'aAcc': 90.0},
        'pgd-linf@4/255': result(10.0, 4),
        'pgd-linf@1/255': result(40.0, 1),
        'sea-linf@1/255': result(30.0, 1),
        'sea-linf@2/255': result(None, 2),
        'pgd-l2@64/255': result(50.0, 64, 'l2'),
        'fgsm-linf': result(60.0, 1),
        'pixle': result(65.0),
    }
}


def per_class(values, classes=None, metric='IoU'):
    results = {name: {metric: 1.0} for name in values}
    count = len(values['clean'])
    names = classes or [f'class {index}' for index in range(count)]
    return {'results': results, 'per_class': {'metric': metric, 'classes': names, 'values': values}}


def axes_of(figures):
    return [axes for figure in figures for axes in figure.axes]


def bars_of(axes):
    """The widths of the bars, by label, from top to bottom."""
    return {group.get_label(): [patch.get_width() for patch in group] for group in axes.containers}


# ----------------------------------------------------------------------------------------------------- curves


def test_attacks_of_one_name_are_one_curve_that_begins_with_the_clean_images():
    linf, l2 = axes_of(draw_curves(SWEEP))
    lines = {line.get_label(): line.get_xydata().tolist() for line in linf.lines}
    assert lines.keys() == {'pgd-linf', 'sea-linf'}
    np.testing.assert_allclose(lines['pgd-linf'], [[0, 70], [1, 40], [4, 10]])
    np.testing.assert_allclose(lines['sea-linf'], [[0, 70], [1, 30]])  # NaN values are left out
    np.testing.assert_allclose(l2.lines[0].get_xydata(), [[0, 70], [64, 50]])
    assert (linf.get_xlabel(), l2.get_xlabel()) == ('radius (linf) in 1/255', 'radius (l2) in 1/255')
    assert linf.get_ylabel() == 'mIoU'
    assert linf.get_ylim() == l2.get_ylim()
    assert linf.get_ylim()[0] == 0


def test_lines_differ_in_more_than_colour():
    (axes, _) = axes_of(draw_curves(SWEEP))
    for look in ('get_color', 'get_linestyle', 'get_marker'):
        assert len({getattr(line, look)() for line in axes.lines}) == 2


@pytest.mark.parametrize('names', [(), ('fgsm-linf',), ('pixle',)])
def test_no_curve_without_several_radii(names):
    results = SWEEP['results']
    assert draw_curves({'results': {name: results[name] for name in ('clean', *names)}}) == []


def test_a_clean_score_that_is_nan_is_no_point():
    curves = curves_of({'results': {**SWEEP['results'], 'clean': {'mIoU': None}}})
    assert curves == {'linf': {'pgd-linf': [(1 / 255, 40.0), (4 / 255, 10.0)]}}  # the others have one point left


def test_nothing_but_nan_is_no_curve():
    assert draw_curves({'results': {'clean': {'mIoU': None}, 'pgd@1/255': result(None, 1)}}) == []
    assert draw_curves({'results': {'clean': {'mIoU': 7.0}, 'pgd@1/255': result(None, 1)}}) == []


def test_the_main_metric():
    assert main_metric({'results': {'clean': {'aAcc': 1, 'mIoU': 2}}}) == 'mIoU'
    assert main_metric({'results': {'clean': {'accuracy/top5': 1, 'accuracy/top1': 2}}}) == 'accuracy/top1'
    assert main_metric({'results': {'clean': {'coco/bbox_mAP': 1}}}) == 'coco/bbox_mAP'


@pytest.mark.parametrize(
    ('radius', 'text'), [(1 / 255, '1/255'), (0.5 / 255, '0.5/255'), (1.0, '255/255'), (0, '0/255')]
)
def test_radii_as_people_write_them(radius, text):
    assert in_255ths(radius) == text


# ------------------------------------------------------------------------------------------------------- bars


def test_bars_are_the_values_sorted_by_the_mean_drop():
    values = {'clean': [90.0, 80.0, None, 50.0], 'a': [80.0, 20.0, 5.0, 50.0], 'b': [70.0, 40.0, 5.0, 40.0]}
    (axes,) = axes_of(draw_class_bars(per_class(values, ['sky', 'tree', 'road', 'sea'])))
    assert [text.get_text() for text in axes.get_yticklabels()] == ['tree', 'sky', 'sea']  # 50, 15, 5
    assert bars_of(axes) == {'clean': [80, 90, 50], 'a': [20, 80, 50], 'b': [40, 70, 40]}
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first class is at the top
    assert axes.get_xlabel() == 'IoU (%)'


def test_the_order_by_a_plain_loop():
    generator = np.random.default_rng(0)
    values = generator.uniform(0, 100, (4, 30))
    values[0, 3] = values[2, 5] = NAN
    drops = {}
    for index in range(30):
        clean, *attacked = values[:, index]
        if not np.isnan(clean):
            drops[index] = np.mean([0 if np.isnan(value) else clean - value for value in attacked])
    assert sorted_by_drop(values).tolist() == sorted(drops, key=lambda index: -drops[index])


@pytest.mark.parametrize('count', [1, 10, 21, 150])
def test_many_classes_are_the_24_that_lose_most(count):
    report = per_class({'clean': [100.0] * count, 'pgd': [100.0 * index / count for index in range(count)]})
    figures = draw_class_bars(report)
    every_axes = axes_of(figures)
    labels = [text.get_text() for axes in every_axes for text in axes.get_yticklabels()]
    assert labels == [f'class {index}' for index in range(min(count, 24))]
    assert len(every_axes) == (1 if count <= 10 else 2)
    assert len({axes.get_ylim() for axes in every_axes}) == 1  # rows of one height in both columns
    assert drawn_classes(report) == (min(count, 24), count)
    assert max(figure.get_figheight() for figure in figures) < 9


def test_of_many_attacks_six_one_radius_of_each_first():
    names = [f'{family}@{radius}' for family in ('a', 'b', 'c', 'd') for radius in (1, 2, 4)]
    report = per_class({'clean': [50.0], **{name: [10.0] for name in names}})
    assert shown_attacks(report) == ['a@1', 'a@2', 'b@1', 'b@2', 'c@1', 'd@1']
    (axes,) = axes_of(draw_class_bars(report))
    assert list(bars_of(axes)) == ['clean', *shown_attacks(report)]
    drawn = [matplotlib.colors.to_hex(group.patches[0].get_facecolor()).upper() for group in axes.containers]
    assert class_key(report) == list(zip(drawn, bars_of(axes), strict=True))


def test_no_bars_without_values_per_class():
    assert draw_class_bars({'results': {'clean': {'mIoU': 1.0}}}) == []
    assert draw_class_bars(per_class({'clean': [50.0]})) == []
    assert drawn_classes({'results': {}}) == (0, 0)


def test_long_names_are_cut():
    (figure,) = draw_class_bars(per_class({'clean': [50.0], 'a': [1.0]}, ['a name that leaves no room for bars $1$']))
    (label,) = figure.axes[0].get_yticklabels()
    assert label.get_text() == 'a name that leaves…'
    figure.canvas.draw()
