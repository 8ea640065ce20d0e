"""samat_mm.tables.estimate: passes counted by hand, the jobs of Snakemake, and what was not measured."""

import re
import subprocess
import sys

import pytest
from helpers import ROOT
from rich.console import Console

from samat_mm.tables.estimate import (
    Estimate,
    Passes,
    effort_of,
    estimate,
    read_costs,
    show,
    test_passes,
    training_passes,
    unit_of,
)
from samat_mm.tables.reading import read_table

test_passes.__test__ = False  # a function of the module, not a test
NETWORK = {'forward': 1.0, 'to_pixels': 1e3, 'to_weights': 1e6}
COSTS = {
    'machine': {'device': 'cpu', 'name': 'Processor'},
    'networks': {'preactresnet18_cifar10': NETWORK, 'deeplabv3_stanford': NETWORK},
    'gradients': {'OptimWrapper': 1, 'SAMOptimWrapper': 2, 'ESAMOptimWrapper': 1.67},
    'passes': {
        'AutoAttack': {'resisting': [7000, 2000], 'fallen': [100, 50]},
        'PGD steps=10': {'resisting': [11, 10], 'fallen': [3, 2]},
    },
    'images': {'CIFAR10': {'train': 50000, 'test': 10000}, 'StanfordBackgroundDataset': {'test': 143, 'test_size': 2}},
}
SEEN = 100 * 50_000  # images of 100 epochs
VALIDATED = 100 * 10_000


@pytest.mark.parametrize(
    ('row', 'passes'),
    [
        ('SGD', Passes(SEEN + VALIDATED, 0, SEEN)),
        ('SAM_rho-0.1', Passes(2 * SEEN + VALIDATED, 0, 2 * SEEN)),
        ('ESAM_rho-0.1', Passes(1.67 * SEEN + VALIDATED, 0, 1.67 * SEEN)),
    ],
)
def test_a_training_of_a_classifier(row, passes):
    table = read_table('table5')
    assert training_passes(table.training_config(table.row(row), 0), COSTS) == passes


def test_adversarial_training_of_a_segmentor():
    table = read_table('table8')
    config = table.training_config(table.row('linf-AT_eps-8_255'), 0)
    seen, validated = 30_000 * 16, 15 * 2 * 143
    assert training_passes(config, COSTS) == Passes(11 * seen + validated, 10 * seen, seen)


def test_images_that_resist_cost_an_attack_more():
    table = read_table('table5')
    row = table.row('SGD')  # 31.7 % resist AutoAttack
    config = table.training_config(row, 0)
    passes = test_passes(table, row, ['autoattack-l2'], config, COSTS)
    assert passes.forward == pytest.approx(10_000 * (1 + 0.317 * 7000 + 0.683 * 100))
    assert passes.to_pixels == pytest.approx(10_000 * (0.317 * 2000 + 0.683 * 50)) and passes.to_weights == 0


def test_the_effort_of_an_attack_is_its_type_and_length():
    assert (
        effort_of(dict(type='AutoAttack', norm='l2', eps=0.1, steps=20, queries=200))
        == 'AutoAttack steps=20 queries=200'
    )
    assert effort_of(dict(type='ScaledLogits', attack=dict(type='PGD', eps=0.1, steps=10))) == 'PGD steps=10'


def test_every_image_of_a_segmentor_counts_as_resisting():
    table = read_table('table8')
    row = table.row('SGD')
    passes = test_passes(table, row, ['pgd-linf', 'pgd-l2'], table.training_config(row, 0), COSTS)
    assert passes == Passes(2 * 143 * 23, 2 * 143 * 20)


def test_a_table_is_the_sum_over_rows_seeds_and_attacks():
    table = read_table('table8').with_rows(['SGD', 'SAM_rho-0.01']).with_seeds([0, 1, 2, 3])
    found = estimate(table, COSTS)
    assert (found.table, found.trainings, found.tests, found.examinations) == ('table8', 8, 16, 0)
    seen, validated, tested = 30_000 * 16, 15 * 2 * 143, 2 * 143
    assert found.training_hours == pytest.approx(4 * (3 * seen * (1 + 1e6) + 2 * validated) / 3600)
    assert found.test_hours == pytest.approx(8 * tested * (2 + 22 + 20 * 1e3) / 3600)


def test_what_was_not_measured_is_named():
    with pytest.raises(ValueError, match="no 'wrn28-10_cifar10' among their networks"):
        estimate(read_table('table6').with_rows(['WRN-28-10_SGD']), COSTS)


def test_the_measured_times_cover_all_tables_of_the_paper():
    costs = read_costs(ROOT / 'samat_mm/tables/step_times.json')
    for budget in ('smoke', 'paper'):
        found = [estimate(read_table(f'table{number}', budget), costs) for number in range(2, 10)]
        assert len(found) == 8 and all(each.training_hours > 0 and each.test_hours > 0 for each in found)


def test_the_hours_say_of_what(capsys):
    assert unit_of(COSTS) == 'CPU core hours (one thread of Processor)'
    assert unit_of({'machine': {'device': 'cuda', 'name': 'Card'}}) == 'GPU hours on Card'
    show([Estimate('table2', 3, 4, 0, 1.5, 2.0), Estimate('table3', 1, 1, 2, 10.0, 20.25)], COSTS, Console(width=160))
    lines = capsys.readouterr().out.splitlines()
    assert re.findall(r'[\w.]+', next(line for line in lines if ' all ' in line)) == [
        'all',
        '4',
        '5',
        '2',
        '12',
        '22',
        '34',
    ]


def test_the_jobs_are_those_of_snakemake(tmp_path):
    pytest.importorskip('snakemake')
    tool = [sys.executable, str(ROOT / 'tools' / 'reproduce.py'), 'table8', '--budget', 'short', '--out', 'out']
    options = ['--rows', 'SGD', 'Adam', '--seeds', '0', '1', '2', '--dry-run', '--resources', 'gpu=2']
    done = subprocess.run([*tool, *options], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    costs = read_costs(ROOT / 'samat_mm/tables/step_times.json')
    found = estimate(read_table('table8', 'short').with_rows(['SGD', 'Adam']), costs)
    counts = dict(re.findall(r'^(train|evaluate) +(\d+)$', done.stdout, re.MULTILINE))
    assert counts == {'train': str(found.trainings), 'evaluate': str(found.tests)} == {'train': '6', 'evaluate': '12'}
    assert re.search(r'table8 +\W +6 +\W +12 ', done.stdout)
    assert done.stdout.count('gpu=1') >= 18  # every training and test asks for one
