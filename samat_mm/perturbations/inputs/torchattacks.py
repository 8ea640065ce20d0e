"""The attacks of the library torchattacks, by name."""

import importlib
import inspect
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from samat_mm.errors import InputError, MissingPackageError
from samat_mm.perturbations.inputs.classification import OptionallyBoundedAttack, margins
from samat_mm.perturbations.inputs.isolated import isolated
from samat_mm.perturbations.inputs.problem import Problem
from samat_mm.perturbations.randomness import generator_for
from samat_mm.perturbations.rows import choose
from samat_mm.perturbations.units import Radius

NORMS = {'linf': 'Linf', 'l2': 'L2'}  # as the library spells them
USUAL = {'l2': 'PGDL2'}  # its PGD in norms other than linf


@dataclass(frozen=True, init=False, repr=False)
class Torchattacks(OptionallyBoundedAttack):
    """An attack of torchattacks on classifiers, by its name and with its own parameters.

    ``dict(type='Torchattacks', attack='DeepFool', steps=20)``. Norm and radius are checked as in any other attack;
    where the library's attack has them too, they are passed to it and default to its own. Its result is projected onto
    the ball, and kept if it has a smaller margin (the label's logit less the largest other one) than the image. The
    number of classes is passed to the attacks that take it.

    Each image is attacked alone, with its own random numbers: the library shares step sizes, squares and random numbers
    within a batch.

    Source: Kim, Torchattacks: A PyTorch Repository for Adversarial Attacks, 2020. The library is an optional
    dependency: ``pip install --no-deps torchattacks==3.5.1``, and scipy and tqdm.

    Args:
        attack: name of the class, 'CW' for instance; by default 'PGD' for linf and 'PGDL2' for l2.
        norm: 'linf' or 'l2'; by default the norm of the library's attack.
        eps: radius in [0, 1] pixel units; by default the library's, and none for attacks without a radius.
        seed: seed of the library's random numbers.
        **parameters: other parameters of the library's attack, in its own units.

    Raises:
        ImportError: if torchattacks is not installed.
        ValueError: if there is no such attack, it needs more than a model, or a parameter does not fit.
    """

    attack: str
    norm: str | None
    eps: Radius
    seed: int
    own: dict[str, Any] = field(hash=False)

    def __init__(
        self,
        attack: str | None = None,
        norm: str | None = None,
        eps: float | str | None = None,
        seed: int = 0,
        **parameters: Any,
    ) -> None:
        attack = attack or USUAL.get(str(norm), 'PGD')
        known = _parameters_of(library_attack(attack))
        unknown = [name for name in parameters if name not in known]
        if unknown:
            raise InputError(f'{attack} of torchattacks has no parameter {unknown[0]!r}; it has {", ".join(known)}.')
        if 'eps' in known:
            usual = str(known['norm'].default if 'norm' in known else 'L2' if attack.endswith('L2') else 'Linf').lower()
            if norm is not None and norm not in (NORMS if 'norm' in known else [usual]):
                raise InputError(f'{attack} of torchattacks is an attack in {usual}; got norm={norm!r}.')
            norm, eps = norm or usual, known['eps'].default if eps is None else eps
        self._settle(attack=attack, norm=norm, eps=eps, seed=seed, own=parameters)
        self.__post_init__()

    def replace(self, **changes: Any) -> Self:
        """Return the attack with other parameters, including the library attack's own."""
        given = {'attack': self.attack, 'norm': self.norm, 'eps': self.eps, 'seed': self.seed, **self.own}
        return type(self)(**{**given, **changes})

    def find(self, problem: Problem) -> Tensor:
        """Return the library's adversarial images, found one by one, where the model is less sure of the label."""
        images, labels = problem.images, problem.target
        clean, found = problem.logits(images), torch.empty_like(images)
        for row, number in enumerate(problem.numbers):
            one, seed = problem.subset([row]), generator_for(self.seed, number).initial_seed() % 2**32
            passed = self._passed(n_classes=clean.shape[1], seed=seed)
            found[row] = isolated(
                lambda model, passed=passed: library_attack(self.attack)(model, **passed),  # type: ignore[misc]
                one.logits,
                one.images,
                one.target,
                seed,
            )[0]
        found = self.within(found, images)
        return choose(margins(problem.logits(found), labels) < margins(clean, labels), found, images)

    def _passed(self, **wanted: int) -> dict[str, Any]:
        """Return the arguments of the library's attack: its parameters, the ball, and ``wanted`` if it takes them."""
        known = _parameters_of(library_attack(self.attack))
        ball = {'eps': self.eps, 'norm': NORMS.get(str(self.norm))}
        return {key: value for key, value in {**wanted, **self.own, **ball}.items() if key in known}

    def describe(self) -> dict[str, Any]:
        """Return the parameters for reports, in plain types."""
        described = super().describe()
        own, seed = described.pop('own'), described.pop('seed')
        return {**described, **own, 'seed': seed}


def library_attack(name: str) -> type:
    """Return the class of torchattacks of that name, which needs only a model.

    Raises:
        ImportError: if torchattacks is not installed.
        ValueError: if there is no such attack, or it needs more than a model.
    """
    try:
        package: Any = importlib.import_module('torchattacks')
    except ImportError as error:
        raise MissingPackageError(
            "type='Torchattacks' needs the library torchattacks; install it by `pip install --no-deps "
            f'torchattacks==3.5.1` and `pip install scipy tqdm` (importing it failed: {error}).'
        ) from error
    if name == 'AutoAttack':
        raise InputError(
            "AutoAttack of torchattacks always makes 10 steps; use dict(type='AutoAttack'), the standard "
            'version with 100.'
        )
    classes = {key: value for key, value in vars(package).items() if inspect.isclass(value) and key != 'AutoAttack'}
    base = package.attack.Attack
    known = {key: value for key, value in classes.items() if issubclass(value, base) and _needs_only_a_model(value)}
    if name not in known:
        raise InputError(
            f'torchattacks has no attack {name!r} that needs only a model; it has {", ".join(sorted(known))}.'
        )
    return known[name]


def _needs_only_a_model(attack: type) -> bool:
    first, *others = inspect.signature(attack).parameters.values()
    return first.name == 'model' and all(other.default is not inspect.Parameter.empty for other in others)


def _parameters_of(attack: type) -> dict[str, inspect.Parameter]:
    """Return the parameters of a library attack by name, without the model."""
    return dict(list(inspect.signature(attack).parameters.items())[1:])
