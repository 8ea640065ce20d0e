"""Measure the share of a run that is spent in kernels; the rest is the host, which limits the launch rate."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from costs.timing import synchronise


def share_in_kernels(run: Callable[[], Any], seconds: float, device: str) -> float | None:
    """Return the share of a run in which a kernel ran; on a CPU, one of torch's operators.

    Args:
        run: function to profile.
        seconds: its time without a profiler. On a CPU, which the profiler slows down, the profiled time counts.
        device: device of the run.

    Returns:
        The share, or None if the profiler cannot see kernels.
    """
    kind, activity = DeviceType.CPU, ProfilerActivity.CPU
    if device.startswith('cuda'):
        kind, activity = DeviceType.CUDA, ProfilerActivity.CUDA
    synchronise(device)
    with profile(activities=[activity]) as profiler:
        began = time.perf_counter()
        run()
        synchronise(device)
        profiled = time.perf_counter() - began
    busy = covered(
        (event.start_ns(), event.end_ns())
        for event in profiler.profiler.kineto_results.events()
        if event.device_type() == kind and not event.is_user_annotation()
    )
    return busy / (profiled if kind == DeviceType.CPU else seconds) or None


def covered(spans: Iterable[tuple[int, int]]) -> float:
    """Return the total seconds covered by spans (begin, end) in nanoseconds."""
    total, reached = 0, 0
    for begin, end in sorted(spans):
        total += max(0, end - max(begin, reached))
        reached = max(reached, end)
    return total / 1e9


def share_by_name(run: Callable[[], Any], part: str, device: str) -> float:
    """Return the share of the operators whose name contains ``part`` in the time of all torch operators."""
    on_cuda = device.startswith('cuda')
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])]) as profiler:
        run()
    clock = 'self_device_time_total' if on_cuda else 'self_cpu_time_total'  # of the kernels that it launched
    spent = {
        event.key: getattr(event, clock) for event in profiler.key_averages() if event.device_type == DeviceType.CPU
    }
    return sum(value for key, value in spent.items() if part in key) / max(sum(spent.values()), 1)
