"""Kernels that a profiler of single kernels measured: alone, several reports beside each other, or beside a trace."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from perfkit.attribute.kernel_limits import judge
from perfkit.ingest import load_kernels
from perfkit.model.advice import Advice
from perfkit.model.attribution import Attribution, Window
from perfkit.model.diagnosis import Diagnosis, TraceSummary
from perfkit.model.quantity import duration
from perfkit.model.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perfkit.model.kernel_profile import KernelProfile
    from perfkit.model.trace import Defect

    Progress = Callable[[int, int | None], None]

__all__ = ["diagnose_kernels", "read_profiles"]

EMPTY = Attribution(
    Window("device-span", "none", ()), Table(), Table(), Table(), Table(), Table(), Table(), Table(), Table(), ()
)


def diagnose_kernels(paths: Sequence[str | os.PathLike[str]], progress: Progress | None = None) -> Diagnosis:
    """Say of each kernel in some reports what holds it up, and how far it is from that limit.

    Raises:
        MissingExtraError: A package that reads such a file is not installed.
        UnreadableTraceError: A report cannot be read.
        UsageError: One of them is a trace.
    """
    profiles, formats, defects = read_profiles(paths, progress)
    trace = TraceSummary(
        path=", ".join(os.fspath(path) for path in paths),
        format=", ".join(dict.fromkeys(formats)),
        epoch_ns=0,
        clock="none",
        hardware=(),
        rank=None,
        world_size=None,
        events=len(profiles),
        defects=defects,
    )
    return Diagnosis(trace, EMPTY, Advice(verdict(profiles), "", Table(), ()), profiles=profiles)


def read_profiles(
    paths: Sequence[str | os.PathLike[str]], progress: Progress | None = None
) -> tuple[Table[KernelProfile], list[str], tuple[Defect, ...]]:
    """Read reports: the kernels of all, judged; the formats; and what is wrong with the files."""
    reports = [load_kernels(path, progress=progress) for path in paths]
    profiles = Table(judge(kernel) for report in reports for kernel in report.kernels)
    return profiles, [report.format for report in reports], tuple(d for report in reports for d in report.defects)


def verdict(profiles: Sequence[KernelProfile]) -> str:
    """Say in one sentence what holds up the kernel that takes longest, and of two reports which is faster."""
    longest = max(profiles, key=lambda profile: profile.duration_ns or 0)
    name = f"`{longest.name}`"
    if longest.limit == "unknown":
        return f"What holds up {name} cannot be told: {longest.limit_reason}."
    room = "" if longest.headroom_pct is None else f", {longest.headroom_pct:.0f} % from its peak"
    took = "" if longest.duration_ns is None else f" ({duration(longest.duration_ns)})"
    return f"{name}{took} is at the limit of {longest.limit}{room}: {longest.limit_reason}."
