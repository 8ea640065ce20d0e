"""The answers of the verdict, on results that are known in advance."""

import math
from dataclasses import replace

import pytest

from samat_mm.tables.evidence import Evidence, seconds_per_step
from samat_mm.tables.pages import PAGES
from samat_mm.tables.pages.figures import figures_of
from samat_mm.tables.reading import read_table
from samat_mm.tables.results import document_of
from samat_mm.tables.statistics import differences, summary_of, verdict_of
from samat_mm.tables.verdict.correlation import rank_correlation

TOP, ECE, CONFIDENCE = 'accuracy/top1', 'calibration/ECE', 'calibration/confidence'
RADII = ('autoattack-x0.5', 'autoattack', 'autoattack-x2', 'autoattack-x4', 'autoattack-x8')


def evidence(natural, robust, *, transferred=95.0, median=0.08, rise=0.1, seconds=1.0, sanity='pass', **changes):
    """A training whose accuracy under every attack is ``robust``, unless a change gives another one."""
    results = {name: {TOP: robust} for name in ('pgd', *RADII, 'pgd-confidence', 'pgd-logits-x0.1')}
    results['clean'] = {TOP: natural, ECE: 2.0, CONFIDENCE: 99.0}
    results['pgd'] |= {ECE: 30.0, CONFIDENCE: 80.0}
    results['pgd-on-sgd'] = {TOP: transferred}
    for attack in ('fab', 'fmn'):
        results[attack] = {TOP: 0.0, 'minimal_norm': {'quartiles': [0.01, median, None], 'found': 0.6}}
    for name, value in changes.items():
        results[name.replace('_', '-')][TOP] = value
    checks = ({'check': 'more steps', 'verdict': sanity, 'detail': ''},)
    sharpness = {'sam-5-step': rise, 'top_eigenvalue': 3.0}
    return Evidence(
        results,
        samples=500,
        versions={'torch': '2.13.0'},
        sanity=checks,
        sharpness=sharpness,
        seconds_per_step=seconds,
    )


def answers(**rows):
    """The answers by their question's first words, for three seeds of SGD, two rows of SAM, and AT."""
    found = {
        'SGD': {seed: evidence(98.0, 80.0 + seed) for seed in range(3)},
        'SAM_rho-0.1': {seed: evidence(98.0, 81.0 + seed, rise=0.05) for seed in range(3)},
        'SAM_rho-0.4': {seed: evidence(99.0, 86.0 + seed, median=0.1, rise=0.02, seconds=2.0) for seed in range(3)},
        'linf-AT_eps-8_255': {seed: evidence(97.0, 95.0, median=0.2, rise=0.2, seconds=6.0) for seed in range(3)},
        **rows,
    }
    table = read_table('duality', 'smoke').with_rows(found)
    document = document_of(table, found, {})
    return document, {answer['question']: answer for answer in document['verdict']}


@pytest.fixture
def answered():
    return answers()[1]


def test_the_gain_is_that_of_the_row_of_sam_with_the_largest_one(answered):
    answer = answered['Does the gain survive a stronger attack?']
    assert answer['verdict'] == 'yes'
    assert answer['sentence'] == (
        'Yes: at linf 0.05, SAM (rho = 0.4) gains +6.0 ± 0.0 points over SGD under AutoAttack, and +6.0 ± 0.0 points '
        'under PGD.'
    )
    assert answer['columns'] == ('PGD', 'AutoAttack')
    assert dict(answer['rows'])['SGD'] == ({'mean': 81.0, 'std': 1.0, 'n': 3},) * 2


def test_one_seed_that_disagrees_leaves_a_question_undecided():
    sam = {seed: evidence(99.0, 86.0 + seed, autoattack=70.0 if seed == 1 else 90.0) for seed in range(3)}
    answer = answers(**{'SAM_rho-0.4': sam})[1]['Does the gain survive a stronger attack?']
    assert answer['verdict'] == 'undecided' and 'Undecided: at linf 0.05' in answer['sentence']


def test_a_gain_that_is_not_there_cannot_survive():
    """It is another answer than that of a gain which a stronger attack takes away."""
    question = 'Does the gain survive a stronger attack?'
    worse = {seed: evidence(99.0, 70.0 + seed) for seed in range(3)}
    none = answers(**{'SAM_rho-0.1': worse, 'SAM_rho-0.4': worse})[1][question]
    assert none['verdict'] == 'no' and none['sentence'].startswith('There is none: at linf 0.05')
    broken = {seed: evidence(99.0, 86.0 + seed, autoattack=60.0) for seed in range(3)}
    lost = answers(**{'SAM_rho-0.4': broken})[1][question]
    assert lost['verdict'] == 'no' and lost['sentence'].startswith('No: at linf 0.05')


RADIUS = 'Does the gain survive a larger radius?'


def test_the_largest_radius_decides(answered):
    assert answered[RADIUS]['verdict'] == 'yes'
    sam = {seed: evidence(99.0, 86.0 + seed, autoattack_x8=10.0) for seed in range(3)}
    lost = answers(**{'SAM_rho-0.4': sam})[1][RADIUS]
    assert lost['verdict'] == 'no' and '-71.0 ± 1.0 points at linf 0.4' in lost['sentence']
    assert 'linf-AT (eps = 8/255) has 95.0 at linf 0.025' in lost['sentence']


def test_a_radius_at_which_nothing_is_left_decides_nothing():
    rows = {
        key: {seed: evidence(98.0, 80.0 + gain, autoattack_x8=0.0, autoattack_x4=0.0) for seed in range(3)}
        for key, gain in (('SGD', 0.0), ('SAM_rho-0.4', 6.0))
    }
    answer = answers(**rows)[1][RADIUS]
    assert answer['sentence'].startswith('Yes at linf 0.1, the largest radius at which more than 1 % are left: SAM')
    nothing = {key: {0: evidence(98.0, 0.0)} for key in ('SGD', 'SAM_rho-0.1', 'SAM_rho-0.4')}
    assert answers(**nothing)[1][RADIUS]['verdict'] == 'missing'


def test_a_radius_without_results_is_not_the_one_that_decides():
    sam = {seed: evidence(99.0, 86.0 + seed) for seed in range(3)}
    for found in sam.values():
        del found.results['autoattack-x8']
    answer = answers(**{'SAM_rho-0.4': sam})[1][RADIUS]
    assert answer['sentence'].startswith('Yes at linf 0.2') and 'points at linf 0.4' not in answer['sentence']


def test_a_median_beyond_the_radius_of_the_attack_counts_as_that_radius():
    sam = {seed: evidence(99.0, 86.0, median=None if seed else 0.07) for seed in range(3)}
    answer = answers(**{'SAM_rho-0.4': sam})[1]['Are errors farther away?']  # FAB looks as far as 0.8
    assert answer['verdict'] == 'undecided' and 'from 0.08 to 0.557 by FAB' in answer['sentence']


def test_one_seed_decides_nothing():
    single = {
        key: {0: evidence(98.0, 80.0 + gain, rise=0.1 + gain)}
        for key, gain in (('SGD', 0.0), ('SAM_rho-0.1', 0.0), ('SAM_rho-0.4', 6.0), ('linf-AT_eps-8_255', 9.0))
    }
    verdicts = {answer['verdict'] for answer in answers(**single)[0]['verdict']}
    assert verdicts == {'undecided', 'measured', 'yes'}  # yes: the sanity checks, which need no seeds


def test_confidence_distance_and_transfer(answered):
    answer = answered['Does the gain survive equal confidence?']
    assert (
        answer['verdict'] == 'yes' and 'under PGD at confidence 0.9, SAM (rho = 0.4) gains +6.0' in answer['sentence']
    )
    answer = answered['Are errors farther away?']
    assert answer['sentence'] == (
        'Yes: with SAM (rho = 0.4), the median distance of an image to an error goes from 0.08 to 0.1 by FAB (linf-AT '
        '(eps = 8/255): 0.2) and from 0.08 to 0.1 by FMN (linf-AT (eps = 8/255): 0.2); a median beyond the radius of '
        'the attack counts as that radius.'
    )
    answer = answered['Are its own gradients the best attack on it, rather than those of its twin?']
    assert (
        answer['verdict'] == 'yes' and 'has 95.0 on images made on SGD of the same seed, and 87.0' in answer['sentence']
    )


def test_masked_gradients_show_in_the_transfer():
    sam = {seed: evidence(99.0, 96.0, transferred=50.0) for seed in range(3)}
    answer = answers(**{'SAM_rho-0.4': sam})[1][
        'Are its own gradients the best attack on it, rather than those of its twin?'
    ]
    assert answer['verdict'] == 'no'


def test_properties(answered):
    answer = answered['How confident and how well calibrated are the models?']
    assert 'SGD 99.0 % (ECE 2.0, 30.0 under PGD)' in answer['sentence']
    answer = answered['Are flatter models more robust?']  # rises .1 .05 .02 .2, accuracies 81 82 87 95
    assert answer['sentence'].endswith('AutoAttack is -0.20.') and answer['verdict'] == 'measured'
    assert answered['Does PGD pass the sanity checks on every model?']['sentence'] == (
        'Yes: no check failed on any model; 12 passed, and 0 gave no evidence.'
    )
    answer = answered['What does the gain cost, compared with adversarial training?']
    assert answer['sentence'] == (
        'SAM (rho = 0.4): +1.0 ± 0.0 points on clean images and 2.0 times the time per step, for +6.0 ± 0.0 points '
        'under AutoAttack; linf-AT (eps = 8/255): -1.0 ± 0.0 points on clean images and 6.0 times the time per step, '
        'for +14.0 ± 1.0 points under AutoAttack (times as logged, other jobs may have run at once).'
    )


def test_a_failed_check_is_named():
    at = {0: evidence(97.0, 95.0), 1: evidence(97.0, 95.0, sanity='FAIL')}
    answer = answers(**{'linf-AT_eps-8_255': at})[1]['Does PGD pass the sanity checks on every model?']
    assert answer['sentence'] == 'No: these checks failed: linf-AT (eps = 8/255), seed 1: more steps.'


def test_checks_without_evidence_are_no_yes():
    rows = {
        key: {seed: evidence(98.0, 80.0, sanity='no evidence') for seed in range(3)}
        for key in ('SGD', 'SAM_rho-0.1', 'SAM_rho-0.4', 'linf-AT_eps-8_255')
    }
    text = 'Does PGD pass the sanity checks on every model?'
    assert answers(**rows)[1][text]['sentence'] == 'Undecided: no check gave evidence.'
    unexamined = replace(evidence(98.0, 80.0), sanity=())
    answer = answers(**{'SGD': {0: unexamined, 1: unexamined}})[1][text]
    assert answer['verdict'] == 'missing' and answer['sentence'] == 'Not measured on every model.'


def test_questions_without_results_say_so():
    found = {'SGD': {0: evidence(98.0, 80.0)}}
    table = read_table('duality', 'smoke').with_rows(['SGD', 'SAM_rho-0.4', 'linf-AT_eps-8_255'])
    verdict = document_of(table, found, {})['verdict']
    assert len(verdict) == 9 and all(answer['verdict'] == 'missing' for answer in verdict)
    bare = Evidence({'clean': {TOP: 98.0}, 'pgd': {TOP: 80.0}}, 500)
    partial = document_of(table, {row.key: {0: bare, 1: bare} for row in table.rows}, {})['verdict']
    assert [answer['verdict'] for answer in partial if answer['verdict'] != 'missing'] == []
    assert {answer['sentence'] for answer in partial} >= {'Not measured.'}
    assert document_of(read_table('table2', 'smoke'), {}, {})['verdict'] == []


def test_pages_show_the_answers():
    document, _ = answers()
    for page in (PAGES['md'](document), PAGES['html'](document)):
        assert 'Does the gain survive a stronger attack?' in page and 'Yes: at linf 0.05' in page
        assert 'Table duality' not in page and 'Does the robustness of SAM' in page
        assert 'published number' not in page  # there is none
        assert 'median distance' in page and '0.08' in page
        assert 'By chance, 3 seeds agree once in 4 times. One of 500 images is 0.2 points' in page


def test_a_figure_shows_the_radii_of_the_attack():
    document, _ = answers()
    svg = figures_of(document)['Performance against the radius of the attack']
    assert svg.count('linf-AT') >= 1 and 'radius of the attack' in svg


def test_statistics():
    assert summary_of([1.0, None, 3.0]) == {'mean': 2.0, 'std': 1.41, 'n': 2}
    assert summary_of([None]) == {'mean': None, 'std': None, 'n': 0}
    assert differences({0: 3.0, 1: None, 2: 5.0}, {0: 1.0, 1: 1.0, 2: 6.0}) == [2.0, -1.0]
    assert [verdict_of(gains) for gains in ([], [1.0], [1.0, 2.0], [0.0, -1.0], [1.0, -1.0])] == [
        'undecided',
        'undecided',
        'yes',
        'undecided',
        'undecided',
    ]
    assert verdict_of([-1.0, -2.0]) == 'no'
    assert rank_correlation([1, 2, 3], [10, 20, 5]) == pytest.approx(-0.5)
    assert rank_correlation([1, 1, 2], [3, 3, 9]) == pytest.approx(1.0)
    assert rank_correlation([1, 2], [1, 2]) is None and rank_correlation([1, 1, 1], [1, 2, 3]) is None


def test_the_time_of_a_step_comes_from_all_logs_of_a_training(tmp_path):
    assert seconds_per_step(tmp_path) is None
    for number, lines in enumerate(
        ('{"lr": 0.1, "time": 1.0}\n{"time": 99.0, "mIoU": 3}\n', '{"lr": 0.1, "time": 3.0}\n{"lr"')
    ):
        log = tmp_path / f'run{number}' / 'vis_data' / 'scalars.json'
        log.parent.mkdir(parents=True)
        log.write_text(lines)
    assert math.isclose(seconds_per_step(tmp_path), 2.0)
