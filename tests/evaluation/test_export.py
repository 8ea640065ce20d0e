"""Adversarial images as files."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from samat_mm.errors import FileError
from samat_mm.evaluation.export import Export


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='there is no /dev/full')
def test_an_image_that_the_disk_does_not_take_is_named(tmp_path):
    pixels = torch.rand(1, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    batch = SimpleNamespace(sizes=[(8, 6)], space=SimpleNamespace(is_bgr=True, pixels=pixels))
    samples = [SimpleNamespace(metainfo={'img_path': 'a/street.jpg'})]
    exported = Export(tmp_path)('pgd', batch, pixels, [7], samples)
    assert (exported.pixels - pixels).abs().max() <= 0.5 / 255 + 1e-6
    (file,) = (tmp_path / 'pgd').iterdir()
    file.unlink()
    file.symlink_to('/dev/full')
    with pytest.raises(FileError, match=rf'^{file} cannot be written \(No space left on device\); free some space'):
        Export(tmp_path)('pgd', batch, pixels, [7], samples)
