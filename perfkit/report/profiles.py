"""Profiled kernels as every report says it: a table with a column a kernel, and sentences."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from perfkit.model.quantity import duration, percent, rate, size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perfkit.model.kernel_profile import KernelProfile, ToolRule

    Row = tuple[str, Callable[[KernelProfile], str]]

__all__ = ["ABSENT", "build", "head", "rows", "sentences"]

ABSENT: Final = "-"
"""What was not measured; never a zero."""
MOST_RULES: Final = 6


def pct(value: float | None) -> str:
    """Return a part of a peak."""
    return ABSENT if value is None else f"{value:.1f} %"


def known(value: float | None, show: Callable[[float], str]) -> str:
    """Return a quantity, or that it is absent."""
    return ABSENT if value is None else show(value)


def dims(shape: tuple[int, int, int] | None) -> str:
    """Return a launch shape."""
    return ABSENT if shape is None else " x ".join(map(str, shape))


ROWS: Final[Sequence[Row]] = (
    ("limit", lambda kernel: kernel.limit),
    ("duration", lambda kernel: known(kernel.duration_ns, duration)),
    ("at its limit's peak", lambda kernel: known(kernel.roof_ns, duration)),
    ("memory", lambda kernel: pct(kernel.memory_pct)),
    ("compute", lambda kernel: pct(kernel.compute_pct)),
    ("DRAM", lambda kernel: pct(kernel.dram_pct)),
    ("L2", lambda kernel: pct(kernel.l2_pct)),
    ("L1", lambda kernel: pct(kernel.l1_pct)),
    ("DRAM bytes", lambda kernel: known(kernel.dram_bytes, size)),
    ("DRAM rate", lambda kernel: known(kernel.dram_bytes_per_s, rate)),
    ("occupancy", lambda kernel: pct(kernel.occupancy_pct)),
    ("theoretical", lambda kernel: pct(kernel.theoretical_occupancy_pct)),
    ("limited by", lambda kernel: kernel.limiter or ABSENT),
    ("registers", lambda kernel: known(kernel.registers, str)),
    ("shared memory", lambda kernel: known(kernel.shared_bytes, size)),
    ("waves", lambda kernel: known(kernel.waves, lambda waves: f"{waves:.2f}")),
    ("grid", lambda kernel: dims(kernel.grid)),
    ("block", lambda kernel: dims(kernel.block)),
)


def head(kernels: Sequence[KernelProfile]) -> tuple[str, ...]:
    """Return the names of the columns: the reports, or the kernels where all are of one report."""
    if len({kernel.report for kernel in kernels}) > 1:
        return ("", *(f"{PurePath(kernel.report).name} #{kernel.id}" for kernel in kernels))
    return ("", *(f"{kernel.name.split('(')[0]} #{kernel.id}" for kernel in kernels))


def rows(kernels: Sequence[KernelProfile]) -> list[tuple[str, ...]]:
    """Return a row for each thing that was measured of any of the kernels."""
    found = [(label, *map(show, kernels)) for label, show in ROWS]
    return [row for row in found if any(cell != ABSENT for cell in row[1:])]


def sentences(kernel: KernelProfile) -> list[str]:
    """Say of a kernel why that is its limit, why its warps wait, and what the profiler's own rules say."""
    waits = ", ".join(f"{stall.reason} {percent(stall.share)}" for stall in kernel.stalls)
    said = [
        f"Nsight Compute's {rule.name or rule.kind}{promise(rule)}: {rule.text}"
        for rule in kernel.rules
        if rule.kind in {"optimization", "error"}
    ]
    return [
        f"#{kernel.id} `{kernel.name}`: {kernel.limit_reason}.",
        *([f"Warps wait: {waits}."] if waits else []),
        *said[:MOST_RULES],
    ]


def promise(rule: ToolRule) -> str:
    """Return what a rule of the profiler estimates to be won."""
    return "" if rule.speedup_pct is None else f" ({rule.speedup_pct:.0f} % {rule.scope} speed-up, it says)"


def build(kernel: KernelProfile) -> dict[str, Any]:
    """Return a kernel as a dict, to the contract of the JSON report."""
    return {
        **kernel._asdict(),
        "grid": kernel.grid and list(kernel.grid),
        "block": kernel.block and list(kernel.block),
        "headroom_pct": kernel.headroom_pct,
        "stalls": [stall._asdict() for stall in kernel.stalls],
        "rules": [rule._asdict() for rule in kernel.rules],
    }
