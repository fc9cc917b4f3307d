"""Whether one implementation is faster than another: timed in turns, told as a ratio with an interval.

Other work on the machine, clocks and temperature drift over seconds: what is timed in turns drifts alike. Each round
gives one ratio; their median is the speed-up, and resampling them gives its interval. The times told beside it are
medians of the calmer half of the rounds: where a machine is at times half as fast, the median of one function may be
of such a time and that of the other not, and deny the ratio.
"""

from __future__ import annotations

import gc
import statistics
import time
from typing import TYPE_CHECKING, Final

from perfkit.model.measurement import Measurement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["calm", "interval", "measure"]

ROUNDS: Final = 41
FEWEST_ROUNDS: Final = 15
BUDGET_NS: Final = 1_500_000_000
SAMPLE_NS: Final = 500_000
"""What one sample takes at least: shorter functions are called several times in it."""
FLUSH_BYTES: Final = 256 << 20
"""More than the second-level cache of any GPU holds."""
RESAMPLES: Final = 2_000


def measure(base: Callable[[], object], candidate: Callable[[], object], *, device: str) -> Measurement:
    """Time two functions in turns.

    Args:
        base: What is replaced.
        candidate: The replacement.
        device: Type of the device that does the work. On ``cuda``, calls are timed by the device's events with its
            cache flushed before each, and peak memory is counted; elsewhere by the host's clock.

    Returns:
        The measurement; at least 15 rounds, at most 41, and no more after 1.5 s.
    """
    functions = (base, candidate)
    for function in functions:
        function()
        function()
    peaks: tuple[int | None, ...] = (
        tuple(_peak(function) for function in functions) if device == "cuda" else (None, None)
    )
    sample = _device_sample() if device == "cuda" else _host_sample(functions)
    samples: list[tuple[int, int]] = []
    begun = time.perf_counter_ns()
    collecting = gc.isenabled()
    gc.disable()
    try:
        while len(samples) < ROUNDS:
            if len(samples) >= FEWEST_ROUNDS and time.perf_counter_ns() - begun > BUDGET_NS:
                break
            if len(samples) % 2:
                first = sample(base)
                samples.append((first, sample(candidate)))
            else:
                second = sample(candidate)
                samples.append((sample(base), second))
    finally:
        if collecting:
            gc.enable()
    ratios = [before / max(after, 1) for before, after in samples]
    low, high = interval(ratios)
    quiet = calm(samples)
    return Measurement(
        base_ns=round(statistics.median(before for before, _ in quiet)),
        candidate_ns=round(statistics.median(after for _, after in quiet)),
        speedup=statistics.median(ratios),
        low=low,
        high=high,
        rounds=len(samples),
        base_peak_bytes=peaks[0],
        candidate_peak_bytes=peaks[1],
    )


def calm(rounds: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the half of the rounds that took least, both functions of a round together."""
    return sorted(rounds, key=sum)[: (len(rounds) + 1) // 2]


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the median; the same one for the same ratios."""
    import numpy as np

    random = np.random.default_rng(0)
    values = np.asarray(ratios)
    medians = np.median(values[random.integers(len(values), size=(RESAMPLES, len(values)))], axis=1)
    low, high = np.quantile(medians, (0.025, 0.975))
    return float(low), float(high)


def _host_sample(functions: Sequence[Callable[[], object]]) -> Callable[[Callable[[], object]], int]:
    """Return what times a function by the host's clock, ns a call."""
    begun = time.perf_counter_ns()
    for function in functions:
        function()
    calls = max(1, SAMPLE_NS * len(functions) // max(time.perf_counter_ns() - begun, 1))

    def sample(function: Callable[[], object]) -> int:
        begun = time.perf_counter_ns()
        for _ in range(calls):
            function()
        return (time.perf_counter_ns() - begun) // calls

    return sample


def _device_sample() -> Callable[[Callable[[], object]], int]:
    """Return what times a function by events of the current GPU, with cold caches, ns a call."""
    import torch

    trash = torch.empty(FLUSH_BYTES, dtype=torch.int8, device="cuda")

    def sample(function: Callable[[], object]) -> int:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        trash.zero_()
        start.record()
        function()
        end.record()
        end.synchronize()
        elapsed_ms: float = start.elapsed_time(end)
        return round(elapsed_ms * 1e6)

    return sample


def _peak(function: Callable[[], object]) -> int:
    """Return what a call takes of the GPU's memory, at most, beyond what is in use before."""
    import torch

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    function()
    torch.cuda.synchronize()
    return int(torch.cuda.max_memory_allocated() - before)
