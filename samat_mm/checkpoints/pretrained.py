"""Load backbone weights from a local file, with torchvision's or mmpretrain's key names."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from samat_mm.checkpoints.weights_by_name import weights_by_name
from samat_mm.compat import load_checkpoint_file
from samat_mm.compat.checkpoints import UNREADABLE
from samat_mm.errors import InputError, MissingFileError

# torchvision numbers the 17 inverted residuals of MobileNetV2 consecutively; OpenMMLab groups them in 7 layers.
_BLOCKS_PER_LAYER = (1, 2, 3, 4, 3, 3, 1)


def load_backbone(backbone: nn.Module, checkpoint: str | Path) -> None:
    """Load a backbone's weights, all of them or none.

    Args:
        backbone: the module to fill.
        checkpoint: a .pth or .npz file with torchvision's (ResNet, MobileNetV2) or mmpretrain's keys, with or without a
            classifier.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if a weight of the backbone is missing in the file or has another shape.
    """
    state = from_torchvision_names(read_state(Path(checkpoint)))
    wanted = {key: value for key, value in backbone.state_dict().items() if not key.endswith('num_batches_tracked')}
    wrong = [key for key, value in wanted.items() if key not in state or state[key].shape != value.shape]
    if wrong:
        raise InputError(
            f'{checkpoint} does not hold the weights of this {type(backbone).__name__}: {len(wrong)} of {len(wanted)} '
            f'are missing or have another shape, including {", ".join(wrong[:3])}. '
            "Expected torchvision's or mmpretrain's keys for the same architecture."
        )
    backbone.load_state_dict({key: state[key] for key in wanted}, strict=False)


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint, without the key prefixes of wrappers."""
    if path.suffix == '.npz':
        try:
            with np.load(path, allow_pickle=False) as arrays:  # np.load compares the checksums
                content: Any = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
        except FileNotFoundError:
            raise MissingFileError(f'{path} is not a file; give the path of a .npz or .pth file.') from None
        except UNREADABLE as error:
            raise InputError(f'{path} is damaged or not a .npz file: {error}') from None
    else:
        content = load_checkpoint_file(path)
    return {key.removeprefix('backbone.'): value for key, value in weights_by_name(content, str(path)).items()}


def from_torchvision_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of torchvision's MobileNetV2; other keys (its ResNets, mmpretrain's) already match OpenMMLab."""
    if 'features.0.0.weight' not in state:
        return dict(state)
    layers = [(layer, block) for layer, count in enumerate(_BLOCKS_PER_LAYER, 1) for block in range(count)]
    renamed = {}
    for key, value in state.items():
        match = re.fullmatch(r'features\.(\d+)\.(.+)', key)
        if match is None:
            continue
        index, rest = int(match[1]), match[2]
        if index == 0 or index > len(layers):
            name = f'conv{1 if index == 0 else 2}.{_conv_or_norm(rest)}'
        else:
            layer, block = layers[index - 1]
            depth = 1 if index == 1 else 2  # number of conv-norm-activation triples before the linear projection
            name = f'layer{layer}.{block}.conv.{_inverted_residual(rest, depth)}'
        renamed[name] = value
    return renamed


def _conv_or_norm(rest: str) -> str:
    position, _, parameter = rest.partition('.')
    return f'{("conv", "bn")[int(position)]}.{parameter}'


def _inverted_residual(rest: str, depth: int) -> str:
    _, position, tail = rest.split('.', 2)  # 'conv', position in the block, rest of the name
    if int(position) < depth:
        return f'{position}.{_conv_or_norm(tail)}'
    return f'{depth}.{"conv" if int(position) == depth else "bn"}.{tail}'
