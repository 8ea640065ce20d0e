"""Questions about what else distinguishes the models: confidence, flatness, sane attacks, cost."""

from samat_mm.tables.evidence import CLEAN
from samat_mm.tables.verdict.answer import Answer, listing, points
from samat_mm.tables.verdict.comparison import Comparison, Read, answered, entry
from samat_mm.tables.verdict.correlation import rank_correlation

ECE, CONFIDENCE = 'calibration/ECE', 'calibration/confidence'


def calibration(found: Comparison, attack: str) -> Answer:
    """Compare confidence and calibration error, clean and under attack."""
    label = found.label(attack)
    reads = {
        'confidence': entry(CLEAN, CONFIDENCE),
        'ECE': entry(CLEAN, ECE),
        f'confidence, {label}': entry(attack, CONFIDENCE),
        f'ECE, {label}': entry(attack, ECE),
    }
    parts = []
    for row in (found.reference, found.claim, found.yardstick):
        sure, error, _, attacked = (found.mean(row, read) for read in reads.values())
        if sure is not None and error is not None and attacked is not None:
            parts.append(f'{row.name} {sure:.1f} % (ECE {error:.1f}, {attacked:.1f} under {label})')
    sentence = f'Mean confidence on clean images: {listing(parts)}' if parts else 'Not measured'
    return answered('measured' if parts else 'missing', sentence, found, reads)


def flatness(found: Comparison, attack: str) -> Answer:
    """Tell whether the rows that are flatter are more robust."""
    reads: dict[str, Read] = {
        'loss rise in 5 steps': lambda evidence: evidence.sharpness.get('sam-5-step'),
        'eigenvalue': lambda evidence: evidence.sharpness.get('top_eigenvalue'),
        found.label(attack): found.metric(attack),
    }
    means = [[found.mean(row, read) for row in found.table.rows] for read in reads.values()]
    pairs = [(rise, robust) for rise, _, robust in zip(*means, strict=True) if rise is not None and robust is not None]
    correlation = rank_correlation([-rise for rise, _ in pairs], [robust for _, robust in pairs])
    if correlation is None:
        return answered('missing', 'Not measured for three rows', found, reads, digits=3)
    sentence = (
        f'Over {len(pairs)} rows, the rank correlation of flatness (a small rise of the training loss within rho 0.05) '
        f'and performance under {found.label(attack)} is {correlation:+.2f}'
    )
    return answered('measured', sentence, found, reads, digits=3)


def sanity(found: Comparison) -> Answer:
    """Tell whether the attacks work as they should on every model."""
    reads: dict[str, Read] = {
        'checks passed': _count('pass'),
        'checks failed': _count('FAIL'),
        'without evidence': _count('no evidence'),
    }
    trained = [(row, seed) for row in found.table.rows for seed in sorted(found.found.get(row.key, {}))]
    failed = [
        f'{row.name}, seed {seed}: {check["check"]}'
        for row, seed in trained
        for check in found.found[row.key][seed].sanity
        if check['verdict'] == 'FAIL'
    ]
    counts = [sum(found.values(row, read)[seed] or 0 for row, seed in trained) for read in reads.values()]
    if not trained or not all(found.found[row.key][seed].sanity for row, seed in trained):
        return answered('missing', 'Not measured on every model', found, reads)
    passed, _, unseen = (f'{count:g}' for count in counts)
    if failed:
        return answered('no', f'No: these checks failed: {"; ".join(failed)}', found, reads)
    if not counts[0]:
        return answered('undecided', 'Undecided: no check gave evidence', found, reads)
    sentence = f'Yes: no check failed on any model; {passed} passed, and {unseen} gave no evidence'
    return answered('yes', sentence, found, reads)


def cost(found: Comparison, attack: str) -> Answer:
    """Tell what the gain costs in clean performance and in time, beside adversarial training."""
    natural, label = found.metric(CLEAN), found.label(attack)
    slowness = _time_of(found)
    parts = []
    for row in (found.claim, found.yardstick):
        clean, robust = found.gains(natural, row), found.gains(found.metric(attack), row)
        times = found.mean(row, slowness)
        if clean and robust:
            factor = '' if times is None else f' and {times:.1f} times the time per step'
            parts.append(f'{row.name}: {points(clean)} on clean images{factor}, for {points(robust)} under {label}')
    reads = {'natural': natural, label: found.metric(attack), 'time per step': slowness}
    sentence = f'{"; ".join(parts)} (times as logged, other jobs may have run at once)' if parts else 'Not measured'
    return answered('measured' if parts else 'missing', sentence, found, reads)


def _count(verdict: str) -> Read:
    return lambda evidence: sum(check['verdict'] == verdict for check in evidence.sanity) if evidence.sanity else None


def _time_of(found: Comparison) -> Read:
    """Return what reads the time of a training step, in units of the reference's mean."""
    unit = found.mean(found.reference, lambda evidence: evidence.seconds_per_step)
    return lambda evidence: evidence.seconds_per_step / unit if unit and evidence.seconds_per_step else None
