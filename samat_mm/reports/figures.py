"""The figures of a comparison: each attack over its radii, a line for each method."""

from matplotlib.figure import Figure

from samat_mm.reports.wording import Document
from samat_mm.visualization.document import CLEAN, family_of, is_number
from samat_mm.visualization.robustness_curves import draw_lines

Points = list[tuple[float, float, float]]


def figures_of(document: Document) -> list[Figure]:
    """Return a figure for each attack that has several radii; none for the others.

    A line starts with the clean samples at radius 0; its bars are the standard deviations.
    """
    families = {family: points for family in _families(document) if (points := _points(document, family))}
    ends = [
        value + spread for by_method in families.values() for line in by_method.values() for _, value, spread in line
    ]
    return [
        draw_lines(
            {method: [(radius, value) for radius, value, _ in line] for method, line in by_method.items()},
            f'radius of {family} in 1/255',
            document['metric'],
            top=max(ends),
            spreads={method: [spread for _, _, spread in line] for method, line in by_method.items()},
        )
        for family, by_method in families.items()
    ]


def _families(document: Document) -> list[str]:
    """Return the attacks that were run at several radii."""
    names = [family_of(name) for name, attack in document['attacks'].items() if is_number(attack.get('eps'))]
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]


def _points(document: Document, family: str) -> dict[str, Points]:
    """Return (radius, mean, deviation) by method, where there are two at least."""
    radii = {CLEAN: 0.0} | {
        name: attack['eps']
        for name, attack in document['attacks'].items()
        if family_of(name) == family and is_number(attack.get('eps'))
    }
    found = {
        method['name']: sorted(
            (radius, method['cells'][name]['mean'], method['cells'][name]['std'] or 0.0)
            for name, radius in radii.items()
            if method['cells'][name]['mean'] is not None
        )
        for method in document['methods']
    }
    return {name: points for name, points in found.items() if len(points) > 1}
