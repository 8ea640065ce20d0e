"""A table in LaTeX, with the rules of the package booktabs."""

from collections.abc import Iterable, Sequence

SPECIAL = {
    '\\': r'\textbackslash{}',
    '%': r'\%',
    '&': r'\&',
    '_': r'\_',
    '#': r'\#',
    '$': r'\$',
    '{': r'\{',
    '}': r'\}',
    '^': r'\textasciicircum{}',
    '~': r'\textasciitilde{}',
    '±': r'$\pm$',
}


def escaped(text: str) -> str:
    """Return a text in which no letter is a command."""
    return ''.join(SPECIAL.get(letter, letter) for letter in text)


def booktabs(
    caption: str, columns: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], notes: Iterable[str] = ()
) -> str:
    """Return a table for a paper: a line for each method.

    Args:
        caption: its caption.
        columns: the titles of the columns after the first.
        rows: the name of each method, and its cells, which are LaTeX already.
        notes: lines beneath the table, which are LaTeX already.
    """
    lines = [
        r'% needs \usepackage{booktabs}',
        r'\begin{table}',
        r'\centering',
        rf'\caption{{{escaped(caption)}}}',
        rf'\begin{{tabular}}{{l{"c" * len(columns)}}}',
        r'\toprule',
        rf'Method & {" & ".join(map(escaped, columns))} \\',
        r'\midrule',
    ]
    lines += [rf'{escaped(name)} & {" & ".join(cells)} \\' for name, cells in rows]
    lines += [r'\bottomrule', r'\end{tabular}']
    lines += [rf'\par\footnotesize {note}' for note in notes]
    return '\n'.join([*lines, r'\end{table}', ''])
