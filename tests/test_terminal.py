"""At 80 columns, and at any other width, no name and no number is cut or broken."""

import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from samat_mm.evaluation import print_report, print_verdicts
from samat_mm.evaluation.attack_list import print_attacks
from samat_mm.files.configs import configs_folder
from samat_mm.presets import preset_names, presets
from samat_mm.sharpness.report import print_report as print_sharpness
from samat_mm.terminal import FittingTable, fold, pieces

CONFIGS = sorted(file.stem for file in configs_folder().glob('*.py'))
RADII = ('0.5/255', '1/255', '128/255')
METRICS = ('mIoU', 'aAcc', 'mAcc', 'accuracy/top1', 'calibration/confidence', 'worst_case_mIoU', 'success_rate')
NUMBER = re.compile(r'\d')


def console_of(width, **options):
    return Console(file=io.StringIO(), width=width, **options)


def printed(value, width):
    console = console_of(width)
    console.print(value)
    return console.file.getvalue()


def cells_of(text):
    """The rows of all tables in a text, with the lines of each cell joined; rules separate the head from the rows."""
    rows = []
    for line in text.splitlines():
        if line[:1] in '┏┡└':
            rows.append(None)
        elif line[:1] in '┃│':
            rows.append([cell.strip() for cell in re.split('[┃│]', line)[1:-1]])
    return rows


def names_of(text):
    """The first column, a folded name joined: its later lines have no other cell."""
    names = []
    for row in cells_of(text):
        if row is None:
            names.append('')
        elif any(row[1:]) or not names or names[-1] == '':
            names.append(row[0])
        else:
            names[-1] += row[0]
    return [name for name in names if name]


# ------------------------------------------------------------------------------------------------------- folding


@given(st.text(alphabet='abc_-@/=0123. ', max_size=60), st.integers(1, 30))
def test_folding_keeps_every_letter_and_the_width(text, width):
    lines = fold(text, width)
    assert max(map(cell_len, lines)) <= width
    assert ''.join(lines).replace(' ', '') == text.replace(' ', '')
    ends = {''.join(lines[:count]).replace(' ', '') for count in range(len(lines))}
    reached = ''
    for piece in (piece for word in text.split() for piece in pieces(word)):
        inside = {reached + piece[:count] for count in range(1, len(piece))}
        assert len(piece) > width or not inside & ends, f'{piece!r} is broken: {lines}'
        reached += piece


@pytest.mark.parametrize('number', ['0.5/255', '128/255', '1e-05', '74.60', '1e-3/255'])
def test_a_number_is_one_piece(number):
    assert pieces(number) == [number]
    assert pieces(f'pgd-linf@{number}')[-1] == number


# -------------------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize('width', [40, 80, 100, 300])
@pytest.mark.parametrize('columns', [1, 4, 9])
def test_a_table_holds_every_config_whole(width, columns):
    titles = ['scaledlogits-pgd-linf, 0.5/255', *METRICS, 'seconds'][:columns]
    table = FittingTable('all configs', ['method', *titles], ['a note that is longer than a line of forty letters'])
    for number, name in enumerate(CONFIGS):
        table.add_row(name, *(f'{number + column / 10:.2f} ± 10.25' for column in range(columns)))
    text = printed(table, width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert '…' not in text
    parts = names_of(text)
    assert parts[: len(CONFIGS) + 1] == ['method', *CONFIGS]
    assert set(parts) == {'method', *CONFIGS}
    for number in range(len(CONFIGS)):
        for column in range(columns):
            assert re.search(rf'(?<![\d.]){number + column / 10:.2f} ± 10.25(?=\s)', text)


def test_as_few_tables_as_possible_and_the_names_as_wide_as_there_is_room():
    table = FittingTable('', ['method', *('12345678' for _ in range(4))])
    table.add_row('deeplabv3_stanford_pgd-at-eps1', *['1.00'] * 4)
    assert printed(table, 80).count('┏') == 1 and '│ deeplabv3_stanford_pgd-at-eps1 │' in printed(table, 80)
    assert printed(table, 68).count('┏') == 1 and '│ deeplabv3_stanford_  ' in printed(table, 68)
    assert printed(table, 50).count('┏') == 2


def report_of(metrics, attacks):
    def result(number):
        return dict.fromkeys(metrics, number + 0.25)

    results = {'clean': result(90)}
    for number, name in enumerate(attacks):
        for eps, radius in enumerate(RADII):
            attack = {'type': 'PGD', 'eps': float(radius.split('/')[0]) / 255}
            cost = {'forwards': 5000.0, 'backwards': 5000.0, 'seconds': 123456.0}
            results[f'{name}@{radius}'] = {**result(number + eps / 10), 'attack': attack, **cost}
    return {
        'config': 'configs/deeplabv3_stanford_pgd-at-eps1.py', 'seed': 4294967295, 'samples': 50000, 'results': results,
        'evaluation': {'protocol': 'paper-compat', 'made_on': {'checkpoint': f'{"a-long_name/" * 9}last.pth'}},
    }  # fmt: skip


@pytest.mark.parametrize('metrics', [METRICS[:3], METRICS])
def test_the_report_of_every_attack_at_three_radii_fits_80_columns(metrics):
    names = preset_names()
    console = console_of(80)
    print_report(report_of(metrics, names), console=console)
    text = console.file.getvalue()
    assert max(map(cell_len, text.splitlines())) <= 80 and '…' not in text
    assert text.startswith('deeplabv3_stanford_pgd-at-eps1\n')
    expected = ['attack', 'clean', *(name for name in names for _ in RADII)]
    assert names_of(text)[: len(expected)] == expected
    words = set(re.split(r'[\s┃│]+', text))
    for expected in (*RADII, '5000+5000', '123456', '90.25', f'{len(names) - 1 + 0.45:.2f}'):
        assert expected in words
    title = text.partition('┏')[0]
    assert 'a-long_name/a-long_name/' in title.replace('\n', '') and 'last.pth' in title


def test_the_list_of_attacks_breaks_no_parameter():
    console = console_of(80)
    print_attacks(console)
    text = console.file.getvalue()
    assert max(map(cell_len, text.splitlines())) <= 80
    joined = ' '.join(text.split())
    words = set(text.split())
    for name, preset in presets().items():
        assert name in words
        assert preset['source'] in joined.replace(f' {name} ', ' ')
    assert {'eps=1/255,', 'random_start=True,', 'objective=cross-entropy,', 'step_size=101.602/255,'} <= words


def test_verdicts_stand_above_what_was_measured():
    detail = f'it rises from 12.34 at linf 1/255 to 22.34 at 2/255 for {CONFIGS[0]}, which is more than it should'
    verdicts = [
        {'check': 'attacks that do not see the gradients are not stronger', 'verdict': kind, 'detail': detail}
        for kind in ('pass', 'FAIL', 'no evidence', 'skipped')
    ]
    console = console_of(80)
    print_verdicts(verdicts, console)
    lines = console.file.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert [line.split('  ')[0] for line in lines if not line.startswith(' ')] == [
        'sanity checks', 'pass', 'FAIL', 'no evidence', 'skipped',
    ]  # fmt: skip
    assert ' '.join(' '.join(lines).split()).count(detail) == 4


def test_checkpoints_of_a_measurement_of_sharpness_keep_their_names():
    paths = [f'work_dirs/{config}/iter_{number}000.pth' for number, config in enumerate(CONFIGS[:6])]
    settings = {'rho': 0.05, 'asam_rho': 0.5}
    results = {'sam': 12345.678, 'asam': 1.0}
    reports = [
        {'checkpoint': path, 'samples': 9, 'seed': 0, 'settings': settings, 'results': results} for path in paths
    ]
    console = console_of(80)
    print_sharpness(reports, console)
    text = console.file.getvalue()
    assert max(map(cell_len, text.splitlines())) <= 80
    assert text.count('1.235e+04') == 6


def test_pipes_and_no_color_get_plain_text(monkeypatch):
    report = json.loads(json.dumps(report_of(METRICS[:2], ['pgd-linf'])))
    verdicts = [{'check': 'a', 'verdict': 'FAIL', 'detail': 'b'}]
    for environment, options in (({'NO_COLOR': '1', 'TERM': 'xterm-256color'}, {'force_terminal': True}), ({}, {})):
        for key, value in environment.items():
            monkeypatch.setenv(key, value)
        console = console_of(80, **options)
        print_report(report, console=console)
        print_verdicts(verdicts, console)
        assert not re.search(r'\x1b\[[\d;]*3\dm', console.file.getvalue())  # no colour
    assert '\x1b' not in console.file.getvalue()  # nothing at all in a pipe
    coloured = console_of(80, force_terminal=True, no_color=False, color_system='standard')
    print_verdicts(verdicts, coloured)
    assert '\x1b[' in coloured.file.getvalue()
