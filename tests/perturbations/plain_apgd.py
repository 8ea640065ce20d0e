"""APGD of one image in plain loops, from algorithm 1 of Croce and Hein (2020) and the thresholds of their code."""

import torch

PROJECTIONS = {
    'linf': lambda delta, eps: delta.clamp(-eps, eps),
    'l2': lambda delta, eps: delta * min(1.0, eps / max(float(delta.norm()), 1e-300)),
}
STEEPEST = {'linf': torch.sign, 'l2': lambda grad: grad / max(float(grad.norm()), 1e-300)}


def plain_apgd(objective, followed, image, start, eps, steps, norm):
    """All iterates of an image (1, C, H, W); ``objective`` and ``followed`` map images to scalars."""

    def value(at):
        return float(followed(at).detach())

    def gradient(at):
        at = at.detach().clone().requires_grad_()
        return torch.autograd.grad(objective(at), at)[0]

    def project(at):
        return (image + PROJECTIONS[norm](at - image, eps)).clamp(0, 1)

    period, shortest, decrease = (max(int(share * steps), 1) for share in (0.22, 0.06, 0.03))
    iterates, values = [start], [value(start)]
    x, grad, previous = start, gradient(start), None
    best_value, best, best_grad = values[0], x, grad
    size, best_at_check, halved_at_check, since = 2 * eps, best_value, True, 0
    for step in range(steps):
        z = project(x + size * STEEPEST[norm](grad))
        following = z if step == 0 else project(x + 0.75 * (z - x) + 0.25 * (x - previous))
        previous, x = x, following
        grad = gradient(x)
        iterates.append(x)
        values.append(value(x))
        if values[-1] > best_value:
            best_value, best, best_grad = values[-1], x, grad
        since += 1
        if since == period:
            compared = [0.0, *values[1:]]  # their table of losses is 0 where the start's would be
            rises = sum(compared[k] > compared[k - 1] for k in range(len(values) - period, len(values)))
            halve = rises <= 0.75 * period or (not halved_at_check and best_value == best_at_check)
            if halve:
                size, x, grad = size / 2, best, best_grad
            halved_at_check, best_at_check, since = halve, best_value, 0
            period = max(period - decrease, shortest)
    return iterates
