"""Projected ascent: the one loop behind FGSM, PGD and the attacks that vary their objective."""

from collections.abc import Sequence

import torch
from torch import Tensor

from samat_mm.perturbations.ball import norm_ball
from samat_mm.perturbations.inputs.base import Attack, Predict, generator_for
from samat_mm.perturbations.inputs.objectives import objective_named
from samat_mm.perturbations.units import describe_radius, parse_radius


class PGD(Attack):
    """Projected gradient ascent from a random start, ``x <- P(x + step_size * steepest(grad))``.

    ``P`` projects onto the ball around the image and then onto the pixel box. Of all iterates, the start among them,
    the one with the highest objective is returned, image by image.

    Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018; equation 3 of the
    duality paper.

    Args:
        norm: 'linf' or 'l2'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        step_size: in the same units; a quarter of ``eps`` by default, as in the paper's tables.
        steps: number of gradient steps.
        random_start: start anywhere in the ball rather than at the image.
        restarts: number of random starts; the best result counts.
        objective: 'cross-entropy' or 'model-loss'.
        seed: of the random starts.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    def __init__(
        self,
        norm: str = 'linf',
        eps: float | str = '8/255',
        step_size: float | str | None = None,
        steps: int = 10,
        random_start: bool = True,
        restarts: int = 1,
        objective: str = 'cross-entropy',
        seed: int = 0,
    ) -> None:
        self.ball = norm_ball(norm)
        self.eps = parse_radius(eps, 'eps')
        if norm == 'linf':
            self.ball.check_radius(self.eps, ())
        self.step_size = self.eps / 4 if step_size is None else parse_radius(step_size, 'step_size')
        if self.eps > 0 and self.step_size == 0:
            raise ValueError('step_size must be greater than 0; got 0, with which no step moves the image.')
        if self.step_size > 2 * self.eps > 0:
            raise ValueError(
                f'step_size must not exceed the diameter of the ball, {2 * self.eps:g} for eps={self.eps:g}; '
                f'got {self.step_size:g}. {describe_radius(self.step_size)}'
            )
        self.steps = positive_integer(steps, 'steps')
        self.random_start = random_start
        self.restarts = positive_integer(restarts, 'restarts')
        self.objective = objective_named(objective)
        self.seed = seed

    def __call__(
        self,
        predict: Predict,
        inputs: Tensor,
        target: Tensor | None,
        *,
        indices: Sequence[int] | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> Tensor:
        """Return adversarial images; see :meth:`Attack.__call__`."""
        inputs = inputs.detach()
        check_pixels(inputs)
        self.ball.check_radius(self.eps, inputs.shape[1:])
        if self.eps == 0:
            return inputs.clone()
        indices = range(len(inputs)) if indices is None else indices
        sizes = [(inputs.shape[2], inputs.shape[3])] * len(inputs) if sizes is None else sizes
        support = support_mask(inputs, sizes)
        best = BestIterate(inputs)
        with torch.random.fork_rng(devices=[inputs.device] if inputs.is_cuda else []), torch.enable_grad():
            for restart in range(self.restarts):
                images = self._start(inputs, indices, sizes, restart)
                for step in range(self.steps):
                    images.requires_grad_()
                    loss = self.objective(predict(images), target, step, self.steps)
                    (grad,) = torch.autograd.grad(loss.sum(), images)
                    images = images.detach()
                    best.offer(loss.detach(), images)
                    direction = self.ball.steepest(grad if support is None else grad * support)
                    images = self._project(inputs, images + self.step_size * direction)
                with torch.no_grad():
                    loss = self.objective(predict(images), target, self.steps - 1, self.steps)
                best.offer(loss, images)
        return best.images

    def _start(self, inputs: Tensor, indices: Sequence[int], sizes: Sequence[tuple[int, int]], restart: int) -> Tensor:
        images = inputs.clone()
        if self.random_start:
            for image, index, (height, width) in zip(images, indices, sizes, strict=True):
                generator = generator_for(self.seed, index, restart)
                noise = self.ball.sample((len(image), height, width), self.eps, generator)
                image[:, :height, :width] += noise.to(image)
        return self._project(inputs, images)

    def _project(self, inputs: Tensor, images: Tensor) -> Tensor:
        return (inputs + self.ball.project(images - inputs, self.eps)).clamp(0, 1)

    def __repr__(self) -> str:
        return f'{type(self).__name__}({", ".join(f"{key}={value!r}" for key, value in self.describe().items())})'

    def describe(self) -> dict[str, str | float | int | bool]:
        """Return the parameters for reports, in plain types."""
        return {
            'type': type(self).__name__,
            'norm': self.ball.name,
            'eps': self.eps,
            'step_size': self.step_size,
            'steps': self.steps,
            'random_start': self.random_start,
            'restarts': self.restarts,
            'objective': self.objective.name,
            'seed': self.seed,
        }


class FGSM(PGD):
    """The fast gradient sign method: one step of the full radius from the image itself.

    With ``norm='l2'`` it is the fast gradient method. An image whose loss the step does not raise is left as it is.

    Source: Goodfellow et al., Explaining and Harnessing Adversarial Examples, ICLR 2015, section 4.

    Args:
        norm: 'linf' or 'l2'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        objective: 'cross-entropy' or 'model-loss'.
    """

    def __init__(
        self, norm: str = 'linf', eps: float | str = '8/255', objective: str = 'cross-entropy', seed: int = 0
    ) -> None:
        super().__init__(
            norm, eps, step_size=eps, steps=1, random_start=False, restarts=1, objective=objective, seed=seed
        )


class BestIterate:
    """Keeps, image by image, the iterate with the highest loss so far."""

    def __init__(self, inputs: Tensor) -> None:
        self.images = inputs.clone()
        self.loss: Tensor | None = None

    def offer(self, loss: Tensor, images: Tensor) -> None:
        """Take the images whose loss is higher than what is held.

        Args:
            loss: shape (N,), or (1,) for a loss of the whole batch.
            images: shape (N, C, H, W).

        Raises:
            FloatingPointError: if the first loss is not finite: no attack can be trusted on such a model.
        """
        if self.loss is None:
            if not bool(torch.isfinite(loss).all()):
                raise FloatingPointError(
                    'the model gives a loss that is not finite (NaN or infinite) on these images; '
                    'check the checkpoint and the preprocessing before attacking it.'
                )
            self.loss, self.images = loss, images
            return
        higher = loss > self.loss
        self.loss = torch.where(higher, loss, self.loss)
        self.images = torch.where(higher.reshape(-1, *[1] * (images.ndim - 1)), images, self.images)


def check_pixels(inputs: Tensor) -> None:
    """Refuse images that are not pixels in [0, 1].

    Raises:
        ValueError: if the tensor is no batch of images, or a pixel lies outside [0, 1] or is not finite.
    """
    if inputs.ndim != 4 or not inputs.is_floating_point():
        raise ValueError(
            f'inputs must be floating point pixels of shape (N, C, H, W); got {inputs.dtype} {tuple(inputs.shape)}.'
        )
    if inputs.numel() and not (float(inputs.min()) >= 0 and float(inputs.max()) <= 1):
        raise ValueError(
            f'inputs must be pixels in [0, 1]; got values in [{float(inputs.min()):g}, {float(inputs.max()):g}]. '
            'Put the normalisation into predict, and divide 8-bit images by 255.'
        )


def support_mask(inputs: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor | None:
    """Return 1 where an image is and 0 where padding is, shape (N, 1, H, W); None if nothing is padded."""
    whole = tuple(inputs.shape[2:])
    if all(tuple(size) == whole for size in sizes):
        return None
    mask = inputs.new_zeros(len(inputs), 1, *whole)
    for row, (height, width) in zip(mask, sizes, strict=True):
        row[:, :height, :width] = 1
    return mask


def positive_integer(value: int, name: str) -> int:
    """Return ``value``.

    Raises:
        ValueError: if it is not an integer of at least 1.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f'{name} must be an integer of at least 1; got {value!r}.')
    return value
