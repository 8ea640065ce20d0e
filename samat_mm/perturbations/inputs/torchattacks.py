"""The attacks of the library torchattacks, by name."""

import importlib
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from samat_mm.errors import InputError, MissingPackageError
from samat_mm.perturbations.inputs.base import generator_for
from samat_mm.perturbations.inputs.bounded import OptionallyBoundedAttack
from samat_mm.perturbations.inputs.classification import margins
from samat_mm.perturbations.inputs.isolated import isolated
from samat_mm.perturbations.inputs.views import View

NORMS = {'linf': 'Linf', 'l2': 'L2'}  # as the library spells them


class Torchattacks(OptionallyBoundedAttack):
    """An attack of torchattacks on classifiers, by its name and with its own parameters.

    ``dict(type='Torchattacks', attack='DeepFool', steps=20)``. Norm and radius are checked like those of any other
    attack; where the library's attack has them too, they are passed on and default to its own. What it returns is
    projected onto the ball, and kept if it has a smaller margin (the label's logit less the largest other one) than
    the image. The number of classes is passed where it is asked for.

    Each image is attacked on its own, from random numbers of its own: the library shares step sizes, squares and
    random numbers within a batch.

    Source: Kim, Torchattacks: A PyTorch Repository for Adversarial Attacks, 2020. The library is no dependency:
    ``pip install --no-deps torchattacks==3.5.1``, and scipy and tqdm.

    Args:
        attack: name of the class, 'CW' for instance; by default 'PGD' for linf and 'PGDL2' for l2.
        norm: 'linf' or 'l2'; by default that of the library's attack.
        eps: radius in [0, 1] pixel units; by default the library's, and none for attacks without a radius.
        seed: of what the library draws.
        **parameters: other parameters of the library's attack, in its own units.

    Raises:
        ImportError: if torchattacks is not installed.
        ValueError: if there is no such attack, it needs more than a model, or a parameter does not fit.
    """

    def __init__(
        self,
        attack: str | None = None,
        norm: str | None = None,
        eps: float | str | None = None,
        seed: int = 0,
        **parameters: Any,
    ) -> None:
        self.attack = attack or ('PGDL2' if norm == 'l2' else 'PGD')
        self.library = library_attack(self.attack)
        known = dict(list(inspect.signature(self.library).parameters.items())[1:])
        unknown = [name for name in parameters if name not in known]
        if unknown:
            raise InputError(
                f'{self.attack} of torchattacks has no parameter {unknown[0]!r}; it has {", ".join(known)}.'
            )
        if 'eps' in known:
            own = str(known['norm'].default if 'norm' in known else 'L2' if self.attack.endswith('L2') else 'Linf')
            if norm is not None and norm != own.lower() and 'norm' not in known:
                raise InputError(f'{self.attack} of torchattacks is an attack in {own.lower()}; got norm={norm!r}.')
            norm, eps = norm or own.lower(), known['eps'].default if eps is None else eps
        super().__init__(norm, eps)
        self.seed, self.parameters = seed, parameters
        self.passed = dict(parameters)
        if 'eps' in known:
            self.passed['eps'] = self.eps
        if 'norm' in known:
            self.passed['norm'] = NORMS[self.ball.name]
        self._wants = known.keys() & {'n_classes', 'seed'} - parameters.keys()

    def search(self, view: View, images: Tensor, labels: Tensor, indices: Sequence[int]) -> Tensor:
        """Return what the library makes of the images one by one, where the model is less sure of the label."""
        clean = view(images)
        found = torch.empty_like(images)
        for row, index in enumerate(indices):
            one = torch.tensor([row], device=images.device)
            seed = generator_for(self.seed, index).initial_seed() % 2**32
            wanted = {
                key: value for key, value in (('n_classes', clean.shape[1]), ('seed', seed)) if key in self._wants
            }
            found[row] = isolated(
                lambda model, wanted=wanted: self.library(model, **self.passed, **wanted),  # type: ignore[misc]
                view.subset(one),
                images[one],
                labels[one],
                seed,
            )[0]
        found = self.within(found, images)
        better = margins(view(found), labels) < margins(clean, labels)
        return torch.where(better[:, None, None, None], found, images)

    def describe(self) -> dict[str, str | float | int | bool]:
        """Return the parameters for reports, in plain types."""
        return {
            'type': type(self).__name__,
            'attack': self.attack,
            **self.describe_ball(),
            **self.parameters,
            'seed': self.seed,
        }


def library_attack(name: str) -> type:
    """Return the class of torchattacks of that name, which needs nothing but a model.

    Raises:
        ImportError: if torchattacks is not installed.
        ValueError: if there is no such attack, or it is not one of those.
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
            "AutoAttack of torchattacks makes 10 steps whatever it is told; use dict(type='AutoAttack'), the standard "
            'version with 100.'
        )
    classes = {key: value for key, value in vars(package).items() if inspect.isclass(value) and key != 'AutoAttack'}
    known = {
        key: value
        for key, value in classes.items()
        if issubclass(value, package.attack.Attack) and _needs_only_a_model(value)
    }
    if name not in known:
        raise InputError(
            f'torchattacks has no attack {name!r} that needs nothing but a model; it has {", ".join(sorted(known))}.'
        )
    return known[name]


def _needs_only_a_model(attack: type) -> bool:
    first, *others = inspect.signature(attack).parameters.values()
    return first.name == 'model' and all(other.default is not inspect.Parameter.empty for other in others)
