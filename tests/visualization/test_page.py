"""What can be measured of a page without a browser: nothing is wider than a phone, no legend is cut, dark is dark."""

import base64
import html
import io
import itertools
import re

import numpy as np
import pytest
from PIL import Image

from samat_mm.files.configs import configs_folder
from samat_mm.presets import preset_names
from samat_mm.reports import Comparison, Report
from samat_mm.tables.pages import PAGES
from samat_mm.tables.reading import read_table
from samat_mm.tables.results import document_of
from samat_mm.visualization.legends import LETTERS, narrow_figure, put_legend
from samat_mm.visualization.lettering import SIZE, font
from samat_mm.visualization.page import breakable, data_url, inline_panels
from samat_mm.visualization.strips import save_figure

PHONE = 358  # CSS pixels: a phone of 390 without the margins of the page
SMALLEST = 7.9  # CSS pixels of the letters in a figure on it
CONFIGS = sorted((file.stem for file in configs_folder().glob('*.py')), key=len)[-8:]


def document_with(config, attacks):
    results = {'clean': {'mIoU': 80.0}}
    for number, (name, eps) in enumerate(itertools.product(attacks, (0.5, 1, 2))):
        attack = {'type': 'PGD', 'norm': 'l2' if name.endswith('l2') else 'linf', 'eps': eps / 255}
        results[f'{name}@{eps}/255'] = {'mIoU': 70.0 - number, 'attack': attack}
    classes = [f'a class of a long name, the number {number}' for number in range(30)]
    values = {name: [50.0] * len(classes) for name in results}
    return {
        'config': f'configs/{config}.py', 'checkpoint': f'{config}.pth', 'seed': 0, 'samples': 9, 'results': results,
        'per_class': {'metric': 'IoU', 'classes': classes, 'values': values},
    }  # fmt: skip


def report_page(tmp_path):
    Report(document_with(CONFIGS[0], preset_names()[:9])).save(tmp_path / 'page.html')
    return (tmp_path / 'page.html').read_text()


def comparison_page(tmp_path):
    Comparison.of(Report(document_with(config, ['pgd-linf', 'pgd-l2'])) for config in CONFIGS).save(tmp_path / 'c.html')
    return (tmp_path / 'c.html').read_text()


def table_page(tmp_path):
    from samat_mm.tables.evidence import Evidence

    table = read_table('table5', 'smoke')
    results = {name: {'accuracy/top1': 50.0} for name in ('clean', 'autoattack-l2', 'stadv')}
    found = {row.key: {0: Evidence(results, 500)} for row in table.rows}
    return PAGES['html'](document_of(table, found, {}))


@pytest.fixture(scope='module', params=[report_page, comparison_page, table_page])
def page(request, tmp_path_factory):
    return request.param(tmp_path_factory.mktemp('page'))


def test_no_chart_is_wider_than_a_phone_can_show_in_readable_letters(page):
    boxes = [tuple(map(float, box.split())) for box in re.findall(r'viewBox="([^"]+)"', page) if box.count(' ') == 3]
    charts = page.count('<svg')
    assert charts >= 2 and len(boxes) == charts
    sizes = [float(size) for size in re.findall(r'font(?:-size)?: (\d+\.?\d*)px', page.partition('</style>')[2])]
    widest = max(width for _, _, width, _ in boxes)
    assert min(sizes) * PHONE / widest >= SMALLEST
    assert re.search(r'figure svg \{[^}]*max-width: 100%; height: auto', page)
    assert not re.search(r'min-width: [\d.]+rem', re.sub(r'@media.*|th:first-child \{.*', '', page))


def test_no_text_of_a_chart_is_outside_of_it(page):
    """By the widths of the letters of DejaVu Sans, wider than those of the fonts that pages are shown in."""
    texts = 0
    for chart in re.findall(r'<svg.*?</svg>', page, re.S):
        _, _, width, height = map(float, re.search(r'viewBox="([^"]+)"', chart)[1].split())
        for tag, text in re.findall(r'<text([^>]*)>([^<]*)', chart):
            size = float(re.search(r'font(?:-size)?: (\d+\.?\d*)px', tag)[1])
            length = font().getlength(html.unescape(text)) * size / SIZE
            place = re.search(r'rotate\((-?\d+)(?: ([\d.-]+) ([\d.-]+))?\)', tag)
            at = re.search(r'translate\(([\d.-]+) ([\d.-]+)\)', tag)
            x, y = (float(at[1]), float(at[2])) if at else (float(place[2]), float(place[3]))
            share = {'middle': 0.5, 'end': 1.0}.get(re.search(r'anchor: (\w+)|$', tag)[1], 0.0)
            start = y - share * length if place and place[1] == '-90' else x - share * length
            end = height if place and place[1] == '-90' else width
            assert start >= -1 and start + length <= end + 1, text
            texts += 1
    assert texts > 20


def test_everything_wide_scrolls_in_its_own_box_and_the_page_does_not(page):
    before = [page[: match.start()].rsplit('<', 1)[-1] for match in re.finditer('<table', page)]
    assert before and all(tag.startswith('div class="scroll"') for tag in before)
    assert 'overflow-x: auto' in page
    for rule in ('h1', 'h2', 'h3', 'p, li', 'dd'):
        assert re.search(rf'^{rule} \{{[^}}]*overflow-wrap: anywhere', page, re.M), rule
    assert re.search(r'\.key \{[^}]*flex-wrap: wrap', page) and re.search(r'\.charts \{[^}]*flex-wrap: wrap', page)
    assert re.search(r'figure img \{[^}]*width: 100%; height: auto', page)


def test_dark_mode_has_no_colour_of_paper_or_ink_of_its_own(page):
    """The figures take the colours of the page; only coloured lines and marks have one."""
    style, _, body = page.partition('</style>')
    assert 'color-scheme: light dark' in style and '@media (prefers-color-scheme: dark)' in style
    for chart in re.findall(r'<svg.*?</svg>', body, re.S):
        assert not re.search(r'#(?:000000|000|ffffff|fff|e5e5e5)\b', chart, re.I)
        assert 'currentColor' in chart and 'var(--line)' in chart


@pytest.mark.parametrize('names', [CONFIGS, preset_names(), ['x' * 200], [' '.join(CONFIGS)], ['a', 'b']])
def test_a_legend_is_inside_its_figure_and_above_the_axes(names):
    figure, axes = narrow_figure()
    height = figure.get_figheight()
    for name in names:
        axes.plot([0, 1], [0, 1], label=name)
    put_legend(figure, axes)
    figure.canvas.draw()
    (legend,) = figure.legends
    extent, axes_extent = legend.get_window_extent(), axes.get_tightbbox()
    assert extent.x0 >= 0 and extent.x1 <= figure.bbox.width and extent.y1 <= figure.bbox.height
    assert extent.y0 >= axes_extent.y1 - 1
    assert axes.bbox.height >= 0.7 * height * figure.dpi  # the legend takes no room from the axes
    texts = [text.get_text() for text in legend.get_texts()]
    assert [text.replace('\n', '').replace(' ', '') for text in texts] == [name.replace(' ', '') for name in names]
    assert max(len(line) for text in texts for line in text.split('\n')) <= LETTERS


def test_names_break_between_words_and_stay_text():
    assert breakable('pgd-linf@0.5/255') == 'pgd-linf@<wbr>0.5/255'
    assert breakable('<b>_x & y') == '&lt;b&gt;_<wbr>x &amp; y'
    assert breakable('') == ''


def test_the_panels_of_a_picture_can_be_arranged_by_the_page(tmp_path):
    generator = np.random.default_rng(0)
    panels = [(f'panel {number}\nü', generator.integers(0, 256, (320, width, 3), dtype=np.uint8))
              for number, width in enumerate((320, 320, 640))]  # fmt: skip
    save_figure([('name', panels)], tmp_path / 'figure.png')
    found = inline_panels(tmp_path / 'figure.png')
    assert [(panel.title, panel.width) for panel in found] == [('panel 0\nü', 1), ('panel 1\nü', 1), ('panel 2\nü', 2)]
    for panel, (_, picture) in zip(found, panels, strict=True):
        kind, data = panel.address.split(',', 1)
        assert kind in ('data:image/png;base64', 'data:image/jpeg;base64')
        decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))), dtype=float)
        assert decoded.shape == picture.shape and np.abs(decoded - picture).mean() < 20


def test_a_picture_from_elsewhere_is_one_panel(tmp_path):
    Image.new('RGB', (30, 20), 'red').save(tmp_path / 'plain.png')
    (panel,) = inline_panels(tmp_path / 'plain.png')
    assert (panel.title, panel.width) == ('', 1)
    assert panel.address == data_url(Image.new('RGB', (30, 20), 'red'))
