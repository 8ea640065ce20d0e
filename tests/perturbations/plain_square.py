"""The l2 Square attack on one image in plain loops, from algorithm 3 of Andriushchenko et al. (2020) and their code."""

import math

import numpy as np

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def rings(height, width):
    """Rectangles around a centre: the innermost adds 1, the next around it 1/4, 1/9 and so on; of unit length."""
    bumps = np.zeros((height, width))
    middle = (height // 2, width // 2)
    for row in range(height):
        for column in range(width):
            innermost = max(abs(row - middle[0]), abs(column - middle[1]))
            bumps[row, column] = sum(1 / (rank + 1) ** 2 for rank in range(innermost, max(middle) + 1))
    return bumps / max(np.sqrt((bumps**2).sum()), 1e-300)


def pattern(side, turn):
    """A hill over a valley, or to the left of it; of unit length."""
    halves = np.concatenate([rings(side // 2, side), -rings(side - side // 2, side)])
    halves /= np.sqrt((halves**2).sum())
    return halves.T if turn > 0.5 else halves


def sign(draw):
    return -1.0 if draw < 0.5 else 1.0


def length(values):
    return math.sqrt(float((values**2).sum()))


def plain_square_l2(margin, image, eps, queries, p_init, uniform):
    """All images (C, H, W) that the model is asked about.

    Args:
        margin: maps an image to the label's logit less the largest other one.
        image: pixels in [0, 1].
        eps: radius.
        queries: how many after the start; an image that the model gets wrong is the last.
        p_init: share of the image that the first squares cover.
        uniform: gives the next random number in [0, 1).
    """
    channels, height, width = image.shape

    def at_radius(delta):
        return np.clip(image + eps * delta / (length(delta) + 1e-12), 0, 1)

    delta, side = np.zeros_like(image), max(min(height, width) // 5, 1)
    for top in range((height % side) // 2, height - side + 1, side):
        for left in range((width % side) // 2, width - side + 1, side):
            shape, signs = pattern(side, uniform()), [sign(uniform()) for _ in range(channels)]
            for channel in range(channels):
                delta[channel, top : top + side, left : left + side] = signs[channel] * shape
    best = at_radius(delta)
    asked, lowest = [best], margin(best)
    for query in range(queries):
        if lowest < 0:
            break
        share = p_init / 2 ** sum(int(query / queries * 10000) > step for step in HALVINGS)
        side = max(round(math.sqrt(share * height * width)), 3)
        side = min(side + 1 - side % 2, height, width)
        rows, columns = [], []
        for _ in range(2):
            rows.append(int(uniform() * (height - side)))
            columns.append(int(uniform() * (width - side)))
        shape, signs = pattern(side, uniform()), [sign(uniform()) for _ in range(channels)]
        old, new = best - image, best - image
        unused = max(eps**2 - length(old) ** 2, 0)
        for channel in range(channels):
            inside = np.zeros((height, width), dtype=bool)
            for row, column in zip(rows, columns, strict=True):
                inside[row : row + side, column : column + side] = True
            available = math.sqrt(unused / channels + length(old[channel][inside]) ** 2)  # of this channel alone
            first = (slice(rows[0], rows[0] + side), slice(columns[0], columns[0] + side))
            window = old[channel][first]
            bump = signs[channel] * shape + window / (length(window) + 1e-12)
            new[channel, rows[1] : rows[1] + side, columns[1] : columns[1] + side] = 0
            new[channel][first] = bump / (length(bump) + 1e-12) * available
        candidate = at_radius(new)
        asked.append(candidate)
        reached = margin(candidate)
        if reached < lowest:
            best, lowest = candidate, reached
    return asked
