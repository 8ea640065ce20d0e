"""Questions about a gain in robustness, each answered seed by seed."""

from collections.abc import Mapping, Sequence

from samat_mm.tables.evidence import Evidence
from samat_mm.tables.statistics import differences, verdict_of
from samat_mm.tables.verdict.answer import VERDICTS, Answer, listing, points
from samat_mm.tables.verdict.comparison import Comparison, Read, answered

NOTHING_LEFT = 1.0  # percent


def strength(found: Comparison, weak: str, strong: str) -> Answer:
    """Compare the gain under the usual attack with that under a stronger one."""
    usual, harder = found.gains(found.metric(weak)), found.gains(found.metric(strong))
    beside = f', and {points(usual)} under {found.label(weak)}' if usual else ''
    return gain_answer(
        found,
        harder,
        usual,
        f'at {found.radius(strong)}, {found.claim.name} gains {{}} over {found.reference.name} under '
        f'{found.label(strong)}{beside}',
        {found.label(name): found.metric(name) for name in (weak, strong)},
    )


def radius(found: Comparison, attacks: Sequence[str]) -> Answer:
    """Tell at which radii there is a gain; the largest one at which there is anything left to lose decides."""
    attacks = sorted(attacks, key=found.size)
    gains = {attack: found.gains(found.metric(attack)) for attack in attacks}
    columns = {found.radius(attack): found.metric(attack) for attack in attacks}
    parts = [f'{points(gain)} at {found.radius(attack)}' for attack, gain in gains.items() if gain]
    rows = (found.reference, found.claim)
    alive = [
        attack
        for attack, gain in gains.items()
        if gain and max(found.mean(row, found.metric(attack)) or 0.0 for row in rows) > NOTHING_LEFT
    ]
    if not alive:
        return answered('missing', 'Not measured where anything is left', found, columns)
    means = {label: found.mean(found.yardstick, read) for label, read in columns.items()}
    trained = [f'{mean:.1f} at {label}' for label, mean in means.items() if mean is not None]
    beside = f'; {found.yardstick.name} has {listing(trained)}' if trained else ''
    verdict = verdict_of(gains[alive[-1]])
    sentence = (
        f'{VERDICTS[verdict]} at {found.radius(alive[-1])}, the largest radius at which more than {NOTHING_LEFT:g} % '
        f'are left: {found.claim.name} gains {listing(parts)}{beside}'
    )
    return answered(verdict, sentence, found, columns)


def confidence(found: Comparison, attacks: Sequence[str]) -> Answer:
    """Tell whether the gain is there when attacks see logits that are equally confident for all models."""
    plain = found.table.roles['attack']
    gains = {attack: found.gains(found.metric(attack)) for attack in (*attacks, plain)}
    first, *others = gains
    said = [f'{points(gains[attack])} under {found.label(attack)}' for attack in others if gains[attack]]
    beside = f', and {listing(said)}' if said else ''
    return gain_answer(
        found,
        gains[first],
        gains[plain],
        f'under {found.label(first)}, {found.claim.name} gains {{}}{beside}',
        {found.label(attack): found.metric(attack) for attack in (plain, *attacks)},
    )


def distance(found: Comparison, attacks: Sequence[str]) -> Answer:
    """Compare the distances to the nearest error; all attacks and all seeds have to agree."""
    reads = {found.label(attack): _median(attack, found.size(attack)) for attack in attacks}
    parts = []
    for label, read in reads.items():
        plain, claimed, trained = (found.mean(row, read) for row in (found.reference, found.claim, found.yardstick))
        if plain is not None and claimed is not None:
            beside = '' if trained is None else f' ({found.yardstick.name}: {trained:.3g})'
            parts.append(f'from {plain:.3g} to {claimed:.3g} by {label}{beside}')
    if not parts:
        return answered('missing', 'Not measured', found, reads, digits=4)
    verdicts = {verdict_of(found.gains(read)) for read in reads.values()}
    verdict = verdicts.pop() if len(verdicts) == 1 else 'undecided'
    sentence = (
        f'{VERDICTS[verdict]}: with {found.claim.name}, the median distance of an image to an error goes '
        f'{listing(parts)}; a median beyond the radius of the attack counts as that radius'
    )
    return answered(verdict, sentence, found, reads, digits=4)


def transfer(found: Comparison, own: str, transferred: str) -> Answer:
    """Tell whether a model's own gradients harm it more than images that are made on its plain twin."""
    white, black = found.metric(own), found.metric(transferred)
    columns = {found.label(own): white, found.label(transferred): black}
    margins = differences(found.values(found.claim, black), found.values(found.claim, white))
    on_twin, on_own = found.mean(found.claim, black), found.mean(found.claim, white)
    if on_twin is None or on_own is None:
        return answered('missing', 'Not measured', found, columns)
    verdict = verdict_of(margins)
    sentence = (
        f'{VERDICTS[verdict]}: {found.claim.name} has {on_twin:.1f} on images made on {found.reference.name} of the '
        f'same seed, and {on_own:.1f} on its own'
    )
    return answered(verdict, sentence, found, columns)


def gain_answer(
    found: Comparison, gains: Sequence[float], usual: Sequence[float], sentence: str, columns: Mapping[str, Read]
) -> Answer:
    """Return whether the gains under the usual attack survive, in a sentence with a place for those that are left."""
    if not gains:
        return answered('missing', 'Not measured', found, columns)
    verdict = verdict_of(gains)
    said = 'There is none' if verdict == verdict_of(usual) == 'no' else VERDICTS[verdict]
    return answered(verdict, f'{said}: {sentence.format(points(gains))}', found, columns)


def _median(attack: str, largest: float) -> Read:
    """Return what reads the median distance under an attack that looks no farther than ``largest``."""

    def read(evidence: Evidence) -> float | None:
        quartiles = evidence.results.get(attack, {}).get('minimal_norm', {}).get('quartiles')
        if quartiles is None:
            return None
        return largest if quartiles[1] is None else quartiles[1]

    return read
