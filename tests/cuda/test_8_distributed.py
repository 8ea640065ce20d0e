"""One process under DistributedDataParallel, over NCCL (gloo on a CPU), trains as without it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from small_models import FAMILY, plain_batches
from test_family_contract import assert_bitwise_same, net, train, wrap
from torch import distributed

LOW = [dict(), dict(type='AmpSAMOptimWrapper', dtype='bfloat16')]


@pytest.fixture(scope='module')
def process_group(device: torch.device, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Make this process a group of one; the machine may have no network but the way to itself."""
    store: Path = tmp_path_factory.mktemp('group') / 'store'
    os.environ.setdefault('NCCL_SOCKET_IFNAME', 'lo')
    os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
    backend, options = ('nccl', {'device_id': device}) if device.type == 'cuda' else ('gloo', {})
    distributed.init_process_group(backend, init_method=f'file://{store}', rank=0, world_size=1, **options)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize('config', LOW, ids=['full', 'bfloat16'])
@pytest.mark.parametrize('case', FAMILY)
def test_a_process_alone_trains_as_without_ddp(
    case: str, config: dict, device: torch.device, process_group: None
) -> None:
    dtype = torch.float32 if config else torch.float64
    batches, ends = plain_batches(6, dtype=dtype), []
    for distribute in (True, False):
        model = net(dtype).to(device)
        devices = [device.index] if device.type == 'cuda' else None
        trained = MMDistributedDataParallel(model, device_ids=devices) if distribute else model
        train(trained, wrap(model, case, **config), batches)
        ends.append({name: value.cpu() for name, value in model.state_dict().items()})
    assert_bitwise_same(*ends)
