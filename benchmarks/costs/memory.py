"""Measure the peak memory of training steps."""

from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from costs.timing import release


def peak_bytes(build: Callable[[], Callable[[], None]], device: str) -> int:
    """Return the peak memory in bytes of a new model and two of its steps, including the first.

    Args:
        build: creates the model and returns its step.
        device: device of the run.
    """

    def build_and_step() -> None:
        step = build()
        for _ in range(2):
            step()

    if device.startswith('cuda'):
        release(device)
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        build_and_step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        build_and_step()
    events = profiler.profiler.kineto_results.events()
    held = peak = 0
    for event in sorted((event for event in events if event.name() == '[memory]'), key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak
