"""SAM-ON: only normalisation layers move."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from torch import nn

from samat_mm.errors import InputError
from samat_mm.perturbations.weights.asam import ASAM
from samat_mm.perturbations.weights.built_on import BuiltOn
from samat_mm.perturbations.weights.method import WeightPerturbation
from samat_mm.perturbations.weights.parts import Memory, Parts, Transformation, Weights

NORMALISATION_LAYERS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


@dataclass(frozen=True)
class SAMON(BuiltOn):
    """SAM-ON: perturbs the scales and shifts of normalisation layers and nothing else.

    The first pass needs no gradients of other weights, which saves up to a sixth of SAM's time.

    Source: Mueller et al., Normalization Layers Are All That Sharpness-Aware Minimization Needs, NeurIPS 2023.

    Args:
        rho: radius; None for ten times the radius of the direction, about the best of the paper (5 with ASAM).
        direction: how these layers move, ASAM as published.
    """

    direction: WeightPerturbation = field(default=ASAM(), kw_only=True)

    radius_ratio: ClassVar[float] = 10

    @cached_property
    def parts(self) -> Parts:
        """The layers that move."""
        return Parts(before=(Transformation(choose=self.choose),))

    def choose(self, weights: Weights, owners: Mapping[str, nn.Module], memory: Memory) -> list[str]:
        """Choose the weights whose module is a normalisation layer, whatever their names.

        Raises:
            ValueError: if there is none.
        """
        chosen = [name for name in weights if is_normalisation_layer(owners[name])]
        if not chosen:
            raise InputError(
                'SAM-ON perturbs normalisation layers, and no trained weight that may move belongs to one; use another '
                'method for this model.'
            )
        return chosen


def is_normalisation_layer(module: nn.Module) -> bool:
    """Tell by the type of a module, torch's or one that says so in its name (HorNetLayerNorm, MMSyncBatchNorm)."""
    return isinstance(module, NORMALISATION_LAYERS) or 'Norm' in type(module).__name__
