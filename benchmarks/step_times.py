"""Measure the seconds of an image in the networks of the paper's tables, for the estimates of samat-mm reproduce.

    python benchmarks/step_times.py [--networks wrn28-10_cifar10 ...] [--rounds 3] [--out FILE.json]
    python benchmarks/step_times.py --device cuda --out FILE.json

Three times of each network: a forward pass, a backward pass to the pixels (the weights need no gradient, as in an
attack), and a backward pass to the weights. Medians over the rounds; processor time of one thread on a CPU, which other
programs disturb less, and time between events on CUDA. The other entries of step_times.json (passes of attacks,
sizes of data sets) are copied.
"""

import argparse
import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from costs.timing import interleaved, release
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import PixelData
from records import machine, write_json
from torch import Tensor, nn

from samat_mm.files.configs import configs_folder

DOCUMENT = Path(__file__).parents[1] / 'samat_mm/tables/step_times.json'
# By network, the batch on a CPU, the batch on CUDA (that of training), and the side of an image in pixels or the number
# of tokens of a sentence (the mean of Rotten Tomatoes).
NETWORKS = {
    'smallcnn_handwriting': (64, 64, 8),
    'deeplabv3_digits': (8, 8, 96),
    'preactresnet18_cifar10': (16, 128, 32),
    'preactresnet18_cifar100': (16, 128, 32),
    'preactresnet18_tiny-imagenet': (16, 128, 32),
    'deit-tiny_cifar10': (16, 128, 32),
    'wrn28-10_cifar10': (8, 128, 32),
    'deeplabv3_stanford': (2, 16, 240),
    'deeplabv3_voc': (2, 16, 513),
    'distilbert-small_rotten-tomatoes': (64, 64, 27),
    'distilbert_rotten-tomatoes': (8, 64, 27),
}


def build(name: str, device: str) -> tuple[nn.Module, Tensor, list]:
    """Return a network with random weights, and a batch of random images, or of embedded sentences, with labels."""
    optimizer = 'adamw' if name.startswith('distilbert') else 'sgd'
    config = Config.fromfile(configs_folder() / f'{name}_{optimizer}.py')
    cpu_batch, cuda_batch, side = NETWORKS[name]
    batch = cuda_batch if device.startswith('cuda') else cpu_batch
    pretrained = {'pretrained': None} if 'pretrained' in config.model else {}
    with DefaultScope.overwrite_default_scope(config.default_scope):
        model = MODELS.build({'data_preprocessor': config.get('data_preprocessor'), **config.model, **pretrained})
    model = model.to(device)
    if hasattr(model, 'embed'):
        width = model.embed(torch.zeros(1, 1, dtype=torch.long, device=device)).shape[-1]
        return model, torch.randn(batch, side, width, device=device), [_label(side, device) for _ in range(batch)]
    channels = len(model.data_preprocessor.mean)
    images = torch.randn(batch, channels, side, side, device=device)
    sample = _pixel_labels if config.default_scope == 'mmseg' else _label
    return model, images, [sample(side, device) for _ in images]


def _label(side: int, device: str) -> object:
    from mmpretrain.structures import DataSample

    return DataSample().set_gt_label(0).to(device)


def _pixel_labels(side: int, device: str) -> object:
    from mmseg.structures import SegDataSample

    sample = SegDataSample(metainfo=dict(ori_shape=(side, side), img_shape=(side, side), pad_shape=(side, side)))
    sample.gt_sem_seg = PixelData(data=torch.zeros(1, side, side, dtype=torch.long))
    return sample.to(device)


def competitors(model: nn.Module, images: Tensor, samples: list) -> dict[str, Callable[[], None]]:
    """Return what is timed: a forward pass alone, and with either backward pass."""

    def run(pixels: bool, weights: bool) -> Callable[[], None]:
        def step() -> None:
            model.train(weights).requires_grad_(weights)
            inputs = images.detach().requires_grad_(pixels)
            with torch.set_grad_enabled(pixels or weights):
                loss = sum(value.mean() for key, value in model(inputs, samples, mode='loss').items() if 'loss' in key)
            if pixels or weights:
                model.zero_grad()
                loss.backward()

        return step

    return {'forward': run(False, False), 'to_pixels': run(True, False), 'to_weights': run(False, True)}


def measure(name: str, device: str, rounds: int) -> dict[str, float]:
    """Return the seconds of an image: forward, and backward to the pixels and to the weights."""
    model, images, samples = build(name, device)
    costs = interleaved(competitors(model, images, samples), rounds, device, name)
    seconds = {part: statistics.median(cost.seconds) / len(images) for part, cost in costs.items()}
    release(device)
    backwards = {part: seconds[part] - seconds['forward'] for part in ('to_pixels', 'to_weights')}
    return {part: float(f'{value:.3g}') for part, value in {'forward': seconds['forward'], **backwards}.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--networks', nargs='+', choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', help="'cpu' or 'cuda'")
    parser.add_argument('--rounds', type=int, default=3, help='after one for warm-up')
    parser.add_argument('--out', type=Path, default=DOCUMENT, metavar='FILE.json')
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True  # as in the configs
    source = args.out if args.out.exists() else DOCUMENT
    document = json.loads(source.read_text(encoding='utf-8'))
    here = machine(args.device)
    if document['machine'].get('name') != here['name']:
        document['networks'] = {}  # never seconds of two machines in one document
    document.update(machine=here, load_average=os.getloadavg())
    for name in args.networks:
        document['networks'][name] = measure(name, args.device, args.rounds)
        print(name, document['networks'][name], flush=True)
        write_json(args.out, document)


if __name__ == '__main__':
    main()
