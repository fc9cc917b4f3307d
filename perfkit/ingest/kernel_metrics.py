"""What Nsight Compute calls its metrics, in the vocabulary of KernelProfile: names of metrics and labels of pages.

The names are those of the Kernel Profiling Guide of Nsight Compute; older ones stand after newer ones. A metric that is
not there stays absent.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from perfkit.model.kernel_profile import KernelProfile, Stall, ToolRule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Metrics = Mapping[str, tuple[float | str, str]]

__all__ = ["LABELS", "make_profile", "make_rule"]

SOL: Final = ".avg.pct_of_peak_sustained_"
MEMORY: Final = (f"gpu__compute_memory_throughput{SOL}elapsed", f"gpu__compute_memory_access_throughput{SOL}elapsed")
COMPUTE: Final = (f"sm__throughput{SOL}elapsed", f"sm__instruction_throughput{SOL}active")
DRAM: Final = (f"gpu__dram_throughput{SOL}elapsed", f"dram__throughput{SOL}elapsed")
L2: Final = (f"lts__throughput{SOL}elapsed",)
L1: Final = (f"l1tex__throughput{SOL}active", f"l1tex__throughput{SOL}elapsed")
OCCUPANCY: Final = (f"sm__warps_active{SOL}active",)
THEORETICAL: Final = ("sm__maximum_warps_per_active_cycle_pct",)
DURATION: Final = ("gpu__time_duration.sum", "gpu__time_duration.avg", "gpu__time_duration_measured_user.sum")
BANDWIDTH: Final = ("dram__bytes.sum.per_second",)
WAVES: Final = ("launch__waves_per_multiprocessor",)
REGISTERS: Final = ("launch__registers_per_thread",)
LIMITERS: Final = {
    "registers": "launch__occupancy_limit_registers",
    "shared memory": "launch__occupancy_limit_shared_mem",
    "barriers": "launch__occupancy_limit_barriers",
    "blocks": "launch__occupancy_limit_blocks",
    "warps": "launch__occupancy_limit_warps",
}
SHARED: Final = ("static", "dynamic", "driver")

LABELS: Final[Mapping[tuple[str, str], str]] = {
    ("duration", ""): DURATION[0],
    ("memory throughput", "%"): MEMORY[0],
    ("memory", "%"): MEMORY[0],
    ("sol memory", "%"): MEMORY[0],
    ("memory throughput", "/s"): BANDWIDTH[0],
    ("compute (sm) throughput", "%"): COMPUTE[0],
    ("compute (sm)", "%"): COMPUTE[0],
    ("sm throughput", "%"): COMPUTE[0],
    ("sm", "%"): COMPUTE[0],
    ("sol sm", "%"): COMPUTE[0],
    ("dram throughput", "%"): DRAM[0],
    ("sol dram", "%"): DRAM[0],
    ("l2 cache throughput", "%"): L2[0],
    ("sol l2 cache", "%"): L2[0],
    ("l1/tex cache throughput", "%"): L1[0],
    ("sol l1/tex cache", "%"): L1[0],
    ("achieved occupancy", "%"): OCCUPANCY[0],
    ("theoretical occupancy", "%"): THEORETICAL[0],
    ("registers per thread", ""): REGISTERS[0],
    ("waves per sm", ""): WAVES[0],
    ("block limit registers", ""): LIMITERS["registers"],
    ("block limit shared mem", ""): LIMITERS["shared memory"],
    ("block limit barriers", ""): LIMITERS["barriers"],
    ("block limit sm", ""): LIMITERS["blocks"],
    ("block limit warps", ""): LIMITERS["warps"],
    **{(f"{kind} shared memory per block", ""): f"launch__shared_mem_per_block_{kind}" for kind in SHARED},
}
"""Labels of the details page in lower case, without the unit that old versions put into brackets, and kind of unit."""

STALLED: Final = re.compile(r"smsp__average_warps_issue_stalled_(\w+?)_per_issue_active\.ratio\Z")
STALL_TEXT: Final = re.compile(
    r"being stalled ((?:waiting )?.{5,140}?)\. .*?This stall type represents about ([\d.]+)% of the total", re.DOTALL
)
LEAST_STALL: Final = 0.05
MOST_STALLS: Final = 5

SCALES: Final = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "p": 1e15}
TIMES: Final = {"n": 1.0, "u": 1e3, "m": 1e6, "": 1e9}
TIME: Final = re.compile(r"([num]?)s(?:econds?)?\Z", re.IGNORECASE)
BYTES: Final = re.compile(r"([kmgtp]?)bytes?(?:/.*)?\Z", re.IGNORECASE)

LINK: Final = re.compile(r"@(?:url|section|source|metric):([^@]*)@")
KINDS: Final[Mapping[object, str]] = {
    2: "optimization",
    3: "warning",
    4: "error",
    "OPT": "optimization",
    "WRN": "warning",
    "ERR": "error",
}
SCOPES: Final[Mapping[object, str]] = {1: "local", 2: "global", "local": "local", "global": "global"}
LONGEST_TEXT: Final = 4000


def make_profile(report: str, number: int, name: str, metrics: Metrics, rules: Iterable[ToolRule]) -> KernelProfile:
    """Make the profile of a kernel, not judged yet, from metrics by name, each with its unit."""
    said = tuple(rules)
    memory, memory_metric = first(metrics, MEMORY)
    compute, compute_metric = first(metrics, COMPUTE)
    duration_ns = time_of(metrics)
    rate = first(metrics, BANDWIDTH)[0]
    rate = read_and_written(metrics, ".per_second") if rate is None else rate
    moved = first(metrics, ("dram__bytes.sum",))[0]
    moved = read_and_written(metrics, "") if moved is None else moved
    if moved is None and rate is not None and duration_ns is not None:
        moved = rate * duration_ns / 1e9
    if rate is None and moved is not None and duration_ns:
        rate = moved * 1e9 / duration_ns
    shared = [first(metrics, (f"launch__shared_mem_per_block_{kind}",))[0] for kind in SHARED]
    major, minor = (text(metrics, f"device__attribute_compute_capability_{part}") for part in ("major", "minor"))
    return KernelProfile(
        report=report,
        id=number,
        name=name,
        device_name=text(metrics, "device__attribute_display_name"),
        compute_capability=f"{major}.{minor}" if major and minor else "",
        grid=shape(metrics, "launch__grid_dim_"),
        block=shape(metrics, "launch__block_dim_"),
        duration_ns=duration_ns,
        memory_pct=memory,
        compute_pct=compute,
        memory_metric=memory_metric,
        compute_metric=compute_metric,
        dram_pct=first(metrics, DRAM)[0],
        l2_pct=first(metrics, L2)[0],
        l1_pct=first(metrics, L1)[0],
        dram_bytes=whole(moved),
        dram_bytes_per_s=rate,
        occupancy_pct=first(metrics, OCCUPANCY)[0],
        theoretical_occupancy_pct=first(metrics, THEORETICAL)[0],
        limiter=limiter(metrics),
        registers=whole(first(metrics, REGISTERS)[0]),
        shared_bytes=None if all(part is None for part in shared) else whole(sum(part or 0 for part in shared)),
        waves=first(metrics, WAVES)[0],
        stalls=stalls(metrics) or stalls_said(said),
        rules=said,
    )


def make_rule(entry: Mapping[str, Any]) -> ToolRule:
    """Make what the profiler says, its links resolved, from ``name, section, kind, text, speedup, scope``."""
    speedup = entry.get("speedup")
    kind: Any = KINDS.get(entry.get("kind") or 0, "information")
    scope: Any = SCOPES.get(entry.get("scope") or 0, "")
    plain = LINK.sub(lambda link: link_text(link[0], link[1]), str(entry.get("text") or ""))
    return ToolRule(
        name=str(entry.get("name") or ""),
        section=str(entry.get("section") or ""),
        kind=kind,
        text=" ".join(plain.split())[:LONGEST_TEXT],
        speedup_pct=float(speedup) if isinstance(speedup, (int, float)) and math.isfinite(speedup) else None,
        scope=scope,
    )


def link_text(whole_link: str, inside: str) -> str:
    """Return the words of a link: ``@url:WORDS:ADDRESS@`` has them first, ``@section:ID:WORDS@`` last."""
    head, _, tail = inside.partition(":")
    return head if whole_link.startswith("@url:") else tail or head


def first(metrics: Metrics, names: Sequence[str]) -> tuple[float | None, str]:
    """Return the first of these metrics that is there, in bytes where it counts bytes, and its name."""
    for name in names:
        value, unit = metrics.get(name, ("", ""))
        if isinstance(value, (int, float)) and math.isfinite(value):
            size = BYTES.match(unit)
            return value * (SCALES[size[1].lower()] if size else 1.0), name
    return None, ""


def time_of(metrics: Metrics) -> int | None:
    """Return the duration in nanoseconds."""
    for name in DURATION:
        value, unit = metrics.get(name, ("", ""))
        known = TIME.match(unit or "ns")
        if isinstance(value, (int, float)) and math.isfinite(value) and value >= 0 and known:
            return whole(value * TIMES[known[1].lower()])
    return None


def read_and_written(metrics: Metrics, suffix: str) -> float | None:
    """Return bytes read and written, only if both are there."""
    both = [first(metrics, (f"dram__bytes_{way}.sum{suffix}",))[0] for way in ("read", "write")]
    return None if None in both else sum(part for part in both if part is not None)


def whole(value: float | None) -> int | None:
    """Return a number without its fraction; one that no file can mean is absent."""
    return None if value is None or not 0 <= value < 2.0**63 else round(value)


def text(metrics: Metrics, name: str) -> str:
    """Return a metric as text, empty if it is absent."""
    return str(metrics[name][0]) if name in metrics else ""


def shape(metrics: Metrics, prefix: str) -> tuple[int, int, int] | None:
    """Return three dimensions, only if all are there."""
    x, y, z = (whole(first(metrics, (f"{prefix}{axis}",))[0]) for axis in "xyz")
    return None if x is None or y is None or z is None else (x, y, z)


def limiter(metrics: Metrics) -> str:
    """Return what allows the fewest blocks on a multiprocessor."""
    known = {name: value for name, metric in LIMITERS.items() if (value := first(metrics, (metric,))[0])}
    least = min(known.values(), default=0.0)
    return ", ".join(name for name, value in known.items() if value == least)


def stalls(metrics: Metrics) -> tuple[Stall, ...]:
    """Return why warps wait, from the warps that each reason holds up per instruction issued."""
    found = {match[1]: first(metrics, (name,))[0] or 0.0 for name in metrics if (match := STALLED.match(name))}
    total = sum(found.values())
    ranked = sorted(found.items(), key=lambda item: -item[1])
    return tuple(
        Stall(reason.replace("_", " "), value / total)
        for reason, value in ranked[:MOST_STALLS]
        if total and value / total >= LEAST_STALL and reason != "selected"
    )


def stalls_said(rules: Iterable[ToolRule]) -> tuple[Stall, ...]:
    """Return why warps wait, from what the profiler's rule of stalls says: pages of details have no more of it."""
    found = [STALL_TEXT.search(rule.text) for rule in rules if rule.name == "CPIStall"]
    shares = [Stall(match[1], float(match[2]) / 100) for match in found if match]
    return tuple(sorted(shares, key=lambda stall: -stall.share))
