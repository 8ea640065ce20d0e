"""docs/reference/configs.md: the configs by model and data set."""

from collections import defaultdict
from pathlib import Path

CONFIGS = Path(__file__).parents[2] / 'configs'
HEAD = """# Configs

Configs are named `configs/{model}_{data}_{method}.py`, and each is a short difference to another. Generated from the
folder by `python docs/generate`. A config of your own starts from one of them: `_base_ =
'samat_mm::deeplabv3_voc_sam.py'`.

| model and data | methods |
|---|---|
"""
FOOT = """
The settings are the paper's, except for `digits` and `handwriting`, which have laptop settings, and
`distilbert-small`. Adversarial training uses linf 8/255 unless the name ends in another radius: `pgd-at-eps1` has the
paper's smallest for segmentation, 1/255 in 5 steps of 0.5/255. `swa` averages the weights with MMEngine's averaged
model.

Their parts are in `configs/_base_/`: `models`, `datasets`, `schedules`, `runtimes`, `perturbations` (adversarial
trainings) and `attacks` (the presets of `--attack`). `configs/tables/` has a file for each [table of the
paper](../how-to/paper-tables.md).

## Data

| data set | name | how to get it |
|---|---|---|
| digits | `digits` | built in: scenes of the handwritten digits that scikit-learn ships |
| handwriting | `handwriting` | built in: the same digits one by one, for classifiers |
| Stanford Background | `stanford` | `samat-mm prepare-data stanford iccv09Data.tar.gz` |
| PASCAL VOC 2012 | `voc` | `samat-mm prepare-data voc VOCtrainval_11-May-2012.tar` |
| CIFAR-10, CIFAR-100 | `cifar10`, `cifar100` | unpack the python version in `data/cifar10` or `data/cifar100` |
| Tiny ImageNet | `tiny-imagenet` | unpack `tiny-imagenet-200.zip` in `data` |
| Rotten Tomatoes | `rotten-tomatoes` | `samat-mm prepare-data rotten-tomatoes rt_polarity.tar.gz`; the extra `text` |

The source is an archive (.tar, .tar.gz, .tar.bz2, .tar.xz, .zip) or a folder outside `--out`. The tool reads an
archive to its end and checks its checksums before it writes anything, and installs a data set only if every file
decodes.

The VOC configs train on `train`, as the paper does. With `--cfg-options train_dataloader.dataset.split=trainaug` they
train on the 10,582 images of the augmented list: put `SegmentationClassAug` and `aug.txt` (or `trainaug.txt`), which
mmsegmentation's `voc_aug.py` makes of SBD, into the VOC2012 folder. `samat-mm prepare-data` checks them too, and no
image of `val` can be in them. The VOC configs load ImageNet backbone weights from a local file, which the error names
if it is missing.

Stanford Background has no official split. `samat_mm/datasets/stanford_background.py` fixes and documents ours, and
also has its authors' 5-fold protocol.
"""


def document() -> str:
    """Return the whole page."""
    methods = defaultdict(list)
    for path in sorted(CONFIGS.glob('*.py')):
        model, data, method = path.stem.split('_')
        methods[f'{model}_{data}'].append(f'`{method}`')
    rows = ''.join(f'| `{start}_...` | {", ".join(found)} |\n' for start, found in methods.items())
    return HEAD + rows + FOOT
