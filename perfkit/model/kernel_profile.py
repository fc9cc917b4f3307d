"""KernelProfile: what a profiler of single kernels measured of one of them, in one vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from perfkit.model.table import Table
    from perfkit.model.trace import Defect

__all__ = ["LIMITS", "KernelMeasure", "KernelProfile", "KernelReport", "Limit", "Shape", "Stall", "ToolRule"]

Limit = Literal["memory", "compute", "latency", "unknown"]
Shape = tuple[int, int, int]

LIMITS: Final[tuple[Limit, ...]] = ("memory", "compute", "latency", "unknown")
"""What can hold a kernel up."""


class Stall(NamedTuple):
    """A reason why warps wait, as the profiler calls it; ``share`` of the time between two instructions, 0 to 1."""

    reason: str
    share: float


class ToolRule(NamedTuple):
    """What the profiler itself says of a kernel, in its own words.

    Attributes:
        name: Its name of the rule; empty where it does not say.
        section: Its name of the section that the rule belongs to.
        kind: ``optimization``, ``warning``, ``error`` or ``information``.
        text: The text, links resolved.
        speedup_pct: Its estimate of the speed-up, in percent.
        scope: What that is a speed-up of: ``global`` the kernel, ``local`` the part that the rule looks at.
    """

    name: str
    section: str
    kind: Literal["optimization", "warning", "error", "information"]
    text: str
    speedup_pct: float | None = None
    scope: Literal["global", "local", ""] = ""


class KernelProfile(NamedTuple):
    """One profiled kernel. What was not measured is None, an empty string or an empty tuple; it is never 0.

    Attributes:
        report: Name of the file that it comes from.
        id: Its number in the report.
        name: Its name as the report has it, demangled where the report does that.
        device: Number of the device.
        device_name: Name of its model.
        compute_capability: Such as ``9.0``.
        grid: Blocks of the launch.
        block: Threads of a block.
        launches: Number of launches that the figures are the mean of.
        duration_ns: Time of one launch.
        memory_pct: Throughput of the memory system in percent of its peak ("speed of light").
        compute_pct: Throughput of the multiprocessors in percent of their peak.
        memory_metric: The metric that memory_pct is from; another than the usual one is only a part of it.
        compute_metric: The metric that compute_pct is from.
        dram_pct: Throughput of DRAM in percent of its peak.
        l2_pct: Throughput of the L2 cache in percent of its peak.
        l1_pct: Throughput of the L1 cache in percent of its peak.
        dram_bytes: Bytes read from DRAM and written to it.
        dram_bytes_per_s: The same by time.
        occupancy_pct: Achieved occupancy: active warps in percent of what a multiprocessor can hold.
        theoretical_occupancy_pct: What the launch allows of it.
        limiter: What limits the theoretical occupancy: ``registers``, ``shared memory``, ``barriers``, ``blocks``,
            ``warps``, several joined by a comma.
        registers: Registers of a thread.
        shared_bytes: Shared memory of a block.
        waves: Waves of blocks that the grid makes on the whole device.
        stalls: Why warps wait, largest share first.
        rules: What the profiler itself says.
        limit: What holds the kernel up.
        limit_pct: How far the unit that limits it is used, in percent of its peak; the rest to 100 is the headroom.
        roof_ns: Time that it would take if that unit were used fully: with the same work, no launch is faster.
        limit_reason: Why that limit, or why it is unknown.
    """

    report: str
    id: int
    name: str
    device: int | None = None
    device_name: str = ""
    compute_capability: str = ""
    grid: Shape | None = None
    block: Shape | None = None
    launches: int = 1
    duration_ns: int | None = None
    memory_pct: float | None = None
    compute_pct: float | None = None
    memory_metric: str = ""
    compute_metric: str = ""
    dram_pct: float | None = None
    l2_pct: float | None = None
    l1_pct: float | None = None
    dram_bytes: int | None = None
    dram_bytes_per_s: float | None = None
    occupancy_pct: float | None = None
    theoretical_occupancy_pct: float | None = None
    limiter: str = ""
    registers: int | None = None
    shared_bytes: int | None = None
    waves: float | None = None
    stalls: tuple[Stall, ...] = ()
    rules: tuple[ToolRule, ...] = ()
    limit: Limit = "unknown"
    limit_pct: float | None = None
    roof_ns: int | None = None
    limit_reason: str = ""

    @property
    def headroom_pct(self) -> float | None:
        """How far the kernel is from its limit, in percent of the peak."""
        return None if self.limit_pct is None else max(100.0 - self.limit_pct, 0.0)


class KernelReport(NamedTuple):
    """The kernels of one file, and what is wrong with it."""

    path: str
    format: str
    kernels: Table[KernelProfile]
    defects: tuple[Defect, ...] = ()


class KernelMeasure(NamedTuple):
    """What kernel profiles say of the device time of a row of a table, weighted by time.

    Attributes:
        covered_ns: How much of the row's device time runs in kernels that were profiled.
        memory_pct: Throughput of the memory system in percent of its peak, or None.
        compute_pct: Throughput of the multiprocessors in percent of their peak, or None.
        occupancy_pct: Achieved occupancy, or None.
        limiter: What limits the occupancy for most of the time; empty where it is not known.
        limit: What holds the kernels up for most of the time.
    """

    covered_ns: int
    memory_pct: float | None
    compute_pct: float | None
    occupancy_pct: float | None
    limiter: str
    limit: Limit
