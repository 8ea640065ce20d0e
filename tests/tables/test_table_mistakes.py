"""Mistakes in the file of a table are named before anything is trained."""

import pytest

from samat_mm.tables.definition import write_definition
from samat_mm.tables.reading import read_table

GOOD = """
title = 'A table'
config = 'smallcnn_handwriting_sgd.py'
metric = 'accuracy/top1'
seeds = [0, 1]
pgd = dict(type='PGD', norm='linf', eps='1/255')
attacks = {'weak': pgd, 'strong': dict(type='AutoAttack', norm='linf', eps='1/255')}
columns = {'natural': [], 'weak': ['weak'], 'strong': ['strong']}
rows = [dict(method='SGD'), dict(method='SAM', rho=0.1), dict(method='linf-AT', eps='8/255')]
surrogates = {'weak': 'SGD'}
examinations = ['sanity', 'sharpness']
roles = dict(reference='SGD', claim='SAM', yardstick='linf-AT_eps-8_255', attack='weak')
questions = [dict(ask='strength', weak='weak', strong='strong'), dict(ask='sanity')]
smoke = dict(share=0.5, attack_radii=dict(linf=2.0))
"""


def table_of(folder, *changes):
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / 'mine.py'
    path.write_text(text)
    return read_table(str(path), 'smoke')


def test_the_table_without_a_mistake_is_read(tmp_path):
    table = table_of(tmp_path)
    assert table.attack_config('weak')['eps'] == pytest.approx(2 / 255) and table.seeds == (0, 1)


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ("ask='sanity'", "ask='sanitty'", "mine asks 'sanitty'; the known questions are strength"),
        (
            "weak='weak', strong",
            "week='weak', strong",
            'question strength of mine takes weak, strong; got week',
        ),
        (
            "strong='strong'",
            "strong='stronger'",
            "question strength of mine: 'stronger' is unknown; the known ones are weak",
        ),
        ("{'weak': 'SGD'}", "{'wek': 'SGD'}", "surrogates of mine: 'wek' is unknown; the known ones are weak, strong"),
        ("{'weak': 'SGD'}", "{'weak': 'SDG'}", "surrogates of mine: 'SDG' is unknown; the known ones are SGD"),
        ("'sharpness']", "'sharpnes']", "examinations of mine: 'sharpnes' is unknown; the known ones are sanity"),
        ("yardstick='linf-AT_eps-8_255'", "yardstick='AT'", "roles of mine: 'AT' is unknown; the known ones are SGD"),
        ("claim='SAM'", "claim='ASAM'", "roles of mine: 'ASAM' is unknown; the known ones are SGD, SAM, linf-AT"),
        ("reference='SGD', ", '', 'roles of mine must be reference, claim, yardstick, attack; got claim'),
        ("dict(method='SGD'),", "dict(method='SGD'), dict(method='SGD'),", 'and has SGD more than once; add model='),
        ("'weak': pgd", "'weak': dict(type='PGD', eps='1/255')", 'attack weak of mine must state its norm and eps'),
        ("'weak': pgd", "'weak': pgd, 'train': pgd", "an attack of mine cannot be called 'train'"),
        ("metric = 'accuracy/top1'", '', 'lacks metric; add it'),
        ('seeds = [0, 1]', 'seeds = [0, 0]', 'seeds must be different numbers from 0 on; got 0, 0'),
        ('share=0.5', "share='0.5'", r"share of budget smoke must be a number in \(0, 1\]; got '0.5'"),
        ('share=0.5', 'methods=dict(Sam={})', "methods of the budget of .*: 'Sam' is unknown; the known ones are SGD"),
        ('share=0.5', 'max_samples=0', 'max_samples of budget smoke must be a whole number of at least 1; got 0'),
        ('dict(linf=2.0)', 'dict(Linf=2.0)', "attack_radii of budget smoke has a positive factor .*; got 'Linf': 2.0"),
    ],
)
def test_a_mistake_is_named(old, new, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        table_of(tmp_path, (old, new))


def test_rows_that_the_questions_need_are_named(tmp_path):
    with pytest.raises(ValueError, match='mine compares its rows with linf-AT_eps-8_255; give that too'):
        table_of(tmp_path).with_rows(['SGD', 'SAM_rho-0.1'])
    with pytest.raises(ValueError, match='mine compares its rows with a row of SAM; give that too'):
        table_of(tmp_path).with_rows(['SGD', 'linf-AT_eps-8_255'])


def test_unknown_arguments_of_a_budget_file_are_named(tmp_path):
    (tmp_path / 'mine.py').write_text('max_sample = 3')
    with pytest.raises(ValueError, match=r'mine\.py has no argument max_sample; the known ones are attack_radii'):
        read_table('table2', str(tmp_path / 'mine.py'))


def test_tables_of_other_data_or_budgets_do_not_share_a_folder(tmp_path):
    write_definition(read_table('table2', 'smoke'), tmp_path)
    write_definition(read_table('table5', 'smoke'), tmp_path)
    for name, budget in (('table3', 'smoke'), ('table5', 'paper')):
        with pytest.raises(ValueError, match=r'has the cells of table2 with config preactresnet18_cifar10_sgd\.py'):
            write_definition(read_table(name, budget), tmp_path)


def test_a_definition_changes_with_the_table_alone(tmp_path):
    path = write_definition(table_of(tmp_path), tmp_path)
    before = path.stat().st_mtime_ns
    assert write_definition(table_of(tmp_path), tmp_path).stat().st_mtime_ns == before
    write_definition(table_of(tmp_path, ('A table', 'Another title')), tmp_path)
    assert path.stat().st_mtime_ns > before
