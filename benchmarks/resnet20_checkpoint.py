"""Convert the public CIFAR-10 ResNet-20 for configs/resnet20_cifar10_sgd.py, without executing code from it.

python benchmarks/resnet20_checkpoint.py resnet20-12fca82f.th resnet20.pth

The source is pretrained_models/ of github.com/akamaster/pytorch_resnet_cifar10 (91.78 % of the test images).
"""

import argparse
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

import samat_mm  # noqa: F401  (before torchvision, which mmpretrain imports)
from samat_mm.command_line.endings import errors_as_sentences
from samat_mm.compat import load_checkpoint_file
from samat_mm.errors import InputError
from samat_mm.files.configs import configs_folder


def convert(source: Path) -> dict[str, Tensor]:
    """Return the weights under the names of the config's model.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file does not contain exactly the weights of that ResNet-20.
    """
    from mmpretrain.registry import MODELS

    checkpoint = load_checkpoint_file(source)
    state = checkpoint.get('state_dict') if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict):
        raise InputError(f"{source} is not a checkpoint of ResNet-20: expected a dict with 'state_dict' in it.")
    renamed = {_name(str(key)): value for key, value in state.items() if isinstance(value, Tensor)}
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(Config.fromfile(configs_folder() / 'resnet20_cifar10_sgd.py').model)
    wanted = model.state_dict()
    # PyTorch had no such counters when the checkpoint was created; they start at 0.
    counters = {key: value for key, value in wanted.items() if key.endswith('num_batches_tracked')}
    expected = {key: tuple(value.shape) for key, value in wanted.items() if key not in counters}
    found = {key: tuple(value.shape) for key, value in renamed.items() if key not in counters}
    wrong = sorted(key for key, _ in expected.items() ^ found.items())
    if wrong:
        raise InputError(
            f'{source} does not hold the weights of ResNet-20: {wrong[0]} and others are missing, left over or of '
            'another shape; give resnet20-12fca82f.th.'
        )
    return {**counters, **renamed}


def _name(key: str) -> str:
    bare = key.removeprefix('module.')
    return bare.replace('linear.', 'head.fc.') if bare.startswith('linear.') else f'backbone.{bare}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path)
    parser.add_argument('out', type=Path)
    args = parser.parse_args()
    with errors_as_sentences():
        state = convert(args.source)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        torch.save({'state_dict': state}, args.out)


if __name__ == '__main__':
    main()
