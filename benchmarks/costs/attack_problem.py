"""A model with a batch and its labels, in the form that our attacks and others take."""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from mmengine.structures import PixelData
from resnet20_checkpoint import convert
from torch import Tensor, nn
from torch.nn import functional as F

from costs.attack_contests import Contest
from costs.kernels import share_by_name
from costs.numerics import NUMERICS, PLAIN
from costs.workloads import Workload, set_statistics, workload
from samat_mm.crafting.crafting import Crafting
from samat_mm.model_state import frozen
from samat_mm.pixels.pixel_space import PixelSpace
from samat_mm.registry import ATTACKS


class Predict(nn.Module):
    """A module from pixels in [0, 1] to logits at the labels' resolution, for the other attacks."""

    def __init__(self, model: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.model, self.mean, self.std = model, mean, std

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (N, K), or (N, K, H, W) at the resolution of the pixels."""
        logits = self.model((pixels - self.mean) / self.std, mode='tensor')
        if logits.ndim == 4:
            logits = F.interpolate(logits, size=pixels.shape[2:], mode='bilinear', align_corners=False)
        return logits


class Problem:
    """A model with a batch and its labels."""

    def __init__(self, load: Workload, trained: bool) -> None:
        data = load.model.data_preprocessor(load.batch(), False)
        if not trained:
            set_statistics(load.model, data['inputs'])
        self.model, self.title = load.model.eval(), load.title
        self.space = PixelSpace(load.model, load.images, data['inputs'], data['data_samples'])
        self.pixels = self.space.pixels
        self.predict = Predict(load.model, self.space.mean, self.space.std).eval()
        if trained:
            self.target = torch.cat([sample.gt_label for sample in self.space.samples])
            return
        with torch.no_grad():
            self.target = self.predict(self.pixels).argmax(1)
        for sample, label in zip(self.space.samples, self.target, strict=True):
            if self.target.ndim == 1:
                sample.set_gt_label(label)
            else:
                sample.gt_sem_seg = PixelData(data=label[None])

    def competitors(self, contest: Contest, dtypes: list[str]) -> dict[str, Callable[[], Tensor]]:
        """Return the functions to compare, ours first."""
        attack, numbers = ATTACKS.build(contest.ours), range(len(self.pixels))
        crafting = {dtype: Crafting(self.model, dtype) for dtype in dtypes}
        ours: dict[str, Callable[[], Tensor]] = {
            f'samat_mm, {dtype}': lambda fast=fast: fast.attack(self.space, attack, numbers)  # type: ignore[misc]
            for dtype, fast in crafting.items()
        }
        ours['samat_mm, on the model'] = lambda: self.space.attack(attack, numbers)
        rivals = {
            name: lambda rival=rival: rival(self.predict, self.pixels, self.target)  # type: ignore[misc]
            for name, rival in contest.rivals.items()
        }
        return ours | rivals

    def share_of_convolutions(self, device: str) -> float:
        """Return the share of convolutions in the time of a forward and backward, which folding cannot save."""

        def step() -> None:
            pixels = self.pixels.clone().requires_grad_()
            torch.autograd.grad(F.cross_entropy(self.predict(pixels), self.target), pixels)

        with frozen(self.model):
            step()
            return share_by_name(step, 'conv', device)

    @torch.no_grad()
    def judge(self, images: Tensor) -> tuple[float, float]:
        """Return the mean cross-entropy and the accuracy, in plain float32."""
        with NUMERICS[PLAIN].active():
            logits = self.predict(images)
        accuracy = (logits.argmax(1) == self.target).float().mean()
        return float(F.cross_entropy(logits, self.target)), float(accuracy)


def problem_of(name: str, args: argparse.Namespace, batch: int | None = None) -> Problem:
    """Return the problem of a model; ResNet-20 uses its public weights and real images if they are given."""
    load, trained = workload(name, args.device, batch), name == 'resnet20' and args.checkpoint is not None
    if trained:
        load.model.load_state_dict(convert(args.checkpoint))
        with np.load(args.data) as arrays:
            images = torch.from_numpy(arrays['test_images'][: len(load.samples)])
            load.images = images.permute(0, 3, 1, 2).contiguous()  # torchattacks' FAB needs contiguous gradients
            for sample, label in zip(load.samples, arrays['test_labels'], strict=False):
                sample.set_gt_label(int(label))
    return Problem(load, trained)
