"""Times functions in turns: what slows the machine down in a round slows all of them down."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from perfkit.verify.timing import FLUSH_BYTES, interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Call = Callable[[], object]

LEAST_NS: Final = 200_000
"""What one sample takes at least on a CPU: shorter functions are called several times in it."""


def in_turns(calls: Mapping[str, Call], device: str, rounds: int) -> dict[str, list[float]]:
    """Time each function once a round, each round beginning with another one.

    Args:
        calls: The functions; each has been called before.
        device: ``cuda``: timed by events of the device, its cache flushed before each call. Else by the host's clock.
        rounds: How many.

    Returns:
        Nanoseconds a call, by round.
    """
    sample = _on_gpu() if device == "cuda" else _on_host
    names = list(calls)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for at in range(rounds):
        turn = at % max(len(names), 1)
        for name in names[turn:] + names[:turn]:
            taken[name].append(sample(calls[name]))
    return taken


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median, the 95 % bootstrap interval that it lies in, and how many values there are."""
    low, high = interval(values)
    return {"median": float(np.median(values)), "low": low, "high": high, "n": len(values)}


def peak_bytes(call: Call, device: str) -> int | None:
    """Return how much of the GPU's memory a call takes at most, beyond what was in use; None on a CPU."""
    if device != "cuda":
        return None
    import torch

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return int(torch.cuda.max_memory_allocated() - before)


def _on_gpu() -> Callable[[Call], float]:
    import torch

    trash = torch.empty(FLUSH_BYTES, dtype=torch.int8, device="cuda")

    def sample(call: Call) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        trash.zero_()  # and while that lasts the host gets ahead, so that launching is not what is timed
        start.record()
        call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e6

    return sample


def _on_host(call: Call) -> float:
    done, began_ns = 0, time.perf_counter_ns()
    while True:
        call()
        done += 1
        took_ns = time.perf_counter_ns() - began_ns
        if took_ns >= LEAST_NS:
            return took_ns / done


def copy_bandwidth(device: Any, size_bytes: int, rounds: int) -> dict[str, float]:
    """Return how fast a tensor of that size is copied, bytes read and written, in GB/s."""
    import torch

    source = torch.zeros(size_bytes, dtype=torch.int8, device=device)
    target = torch.empty_like(source)
    samples = in_turns({"copy": lambda: target.copy_(source)}, source.device.type, rounds)["copy"]
    return spread([2 * size_bytes / ns for ns in samples])
