"""The Square attack in l2 and l1 on one image in plain loops.

In l2 from algorithm 3 of Andriushchenko et al. (2020) and their code. In l1 it is the same with the sum of absolute
values for the length, and with the projection onto ball and box for the scaling to the sphere (Croce and Hein 2021).
"""

import numpy as np

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def rings(height, width, power):
    """Rectangles around a centre: the innermost adds 1, the next around it 1/4, 1/9 and so on; of unit length."""
    bumps = np.zeros((height, width))
    middle = (height // 2, width // 2)
    for row in range(height):
        for column in range(width):
            innermost = max(abs(row - middle[0]), abs(column - middle[1]))
            bumps[row, column] = sum(1 / (rank + 1) ** 2 for rank in range(innermost, max(middle) + 1))
    return bumps / max(length(bumps, power), 1e-300)


def pattern(side, turn, power):
    """A hill over a valley, or to the left of it; of unit length."""
    halves = np.concatenate([rings(side // 2, side, power), -rings(side - side // 2, side, power)])
    halves /= length(halves, power)
    return halves.T if turn > 0.5 else halves


def sign(draw):
    return -1.0 if draw < 0.5 else 1.0


def length(values, power):
    return float((abs(values) ** power).sum()) ** (1 / power)


def nearest_in_ball_and_box(point, centre, radius):
    """The l1 projection: the one multiplier of the ball, halved until it is known."""
    delta = point - centre
    room = np.where(delta > 0, 1 - centre, centre)

    def short(multiplier):
        return np.clip(np.abs(delta) - multiplier, 0, room)

    low, high = 0.0, float(np.abs(delta).max())
    if short(0).sum() <= radius:
        return centre + np.sign(delta) * short(0)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if short(middle).sum() > radius else (low, middle)
    return centre + np.sign(delta) * short(high)


def plain_square(norm, margin, image, eps, queries, p_init, uniform):
    """All images (C, H, W) that the model is asked about.

    Args:
        norm: 'l2' or 'l1'.
        margin: maps an image to the label's logit less the largest other one.
        image: pixels in [0, 1].
        eps: radius.
        queries: how many after the start; an image that the model gets wrong is the last.
        p_init: share of the image that the first squares cover.
        uniform: gives the next random number in [0, 1).
    """
    power, (channels, height, width) = {'l2': 2, 'l1': 1}[norm], image.shape

    def at_radius(delta):
        if norm == 'l1':
            return nearest_in_ball_and_box(image + delta, image, eps)
        return np.clip(image + eps * delta / (length(delta, power) + 1e-12), 0, 1)

    delta, side = np.zeros_like(image), max(min(height, width) // 5, 1)
    for top in range((height % side) // 2, height - side + 1, side):
        for left in range((width % side) // 2, width - side + 1, side):
            shape, signs = pattern(side, uniform(), power), [sign(uniform()) for _ in range(channels)]
            for channel in range(channels):
                delta[channel, top : top + side, left : left + side] = signs[channel] * shape
    best = at_radius(delta)
    asked, lowest = [best], margin(best)
    for query in range(queries):
        if lowest < 0:
            break
        share = p_init / 2 ** sum(int(query / queries * 10000) > step for step in HALVINGS)
        side = max(round((share * height * width) ** 0.5), 3)
        side = min(side + 1 - side % 2, height, width)
        rows, columns = [], []
        for _ in range(2):
            rows.append(int(uniform() * (height - side)))
            columns.append(int(uniform() * (width - side)))
        shape, signs = pattern(side, uniform(), power), [sign(uniform()) for _ in range(channels)]
        old, new = best - image, best - image
        unused = max(eps**power - length(old, power) ** power, 0)
        for channel in range(channels):
            inside = np.zeros((height, width), dtype=bool)
            for row, column in zip(rows, columns, strict=True):
                inside[row : row + side, column : column + side] = True
            available = unused / channels + length(old[channel][inside], power) ** power  # of this channel alone
            first = (slice(rows[0], rows[0] + side), slice(columns[0], columns[0] + side))
            window = old[channel][first]
            bump = signs[channel] * shape + window / (length(window, power) + 1e-12)
            new[channel, rows[1] : rows[1] + side, columns[1] : columns[1] + side] = 0
            new[channel][first] = bump / (length(bump, power) + 1e-12) * available ** (1 / power)
        candidate = at_radius(new)
        asked.append(candidate)
        reached = margin(candidate)
        if reached < lowest:
            best, lowest = candidate, reached
    return asked
