"""What holds a profiled kernel up, and which rows of a timeline's tables a profile speaks of.

The limits follow the Speed-of-Light rule of Nsight Compute: a kernel that uses neither memory nor multiprocessors to
60 % of their peak is at the limit of latency; else the one used more is the limit.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

from perfkit.model.kernel_profile import KernelMeasure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from perfkit.model.attribution import Kernel
    from perfkit.model.kernel_profile import KernelProfile, Limit

__all__ = ["judge", "match"]

Name = TypeVar("Name", bound=str)

USED_PCT: Final = 60.0
"""Below this part of its peak a unit is not the limit."""
FULL_PCT: Final = 80.0
"""From here on a unit is the limit, whatever the others do."""

CASTS: Final = re.compile(r"\((?:unsigned |signed )?(?:int|long|char|bool|short)(?: long)?\)\s*(?=-?\w)")
SUFFIXES: Final = re.compile(r"\b(\d+)[uUlL]+\b")
BLANKS: Final = re.compile(r"\s+")


def judge(profile: KernelProfile) -> KernelProfile:
    """Say what holds a kernel up, and how far it is from that limit; what was not measured is not guessed."""
    memory, compute = profile.memory_pct, profile.compute_pct
    limit: Limit = "unknown"
    if memory is not None and compute is not None:
        used = max(memory, compute)
        limit = "latency" if used < USED_PCT else "memory" if memory >= compute else "compute"
        reason = f"memory is used to {memory:.1f} % of its peak, the multiprocessors to {compute:.1f} %"
    elif memory is None and compute is None:
        used, reason = None, "neither memory nor multiprocessors were measured: profile with `ncu --set full`"
    else:
        known, missing = ("memory", "the multiprocessors") if compute is None else ("the multiprocessors", "memory")
        used = memory if memory is not None else compute
        assert used is not None
        if used >= FULL_PCT:
            limit = "compute" if memory is None else "memory"
        reason = f"{known} used to {used:.1f} % of the peak, and {missing} not measured"
        if limit == "unknown":
            used, reason = None, f"{reason}: profile with `ncu --section SpeedOfLight`"
    roof = round(profile.duration_ns * used / 100) if used is not None and profile.duration_ns is not None else None
    return profile._replace(limit=limit, limit_pct=used, roof_ns=roof, limit_reason=reason)


def match(kernels: Sequence[Kernel], profiles: Iterable[KernelProfile]) -> dict[int, KernelMeasure]:
    """Find the profiles of a table's kernels by name.

    Args:
        kernels: The table.
        profiles: Judged profiles.

    Returns:
        What the profiles say of a row, by its place; of several launches of a kernel, the mean by time. A name without
        template arguments and parameters is taken for one that has them.
    """
    named: dict[str, list[KernelProfile]] = {}
    for profile in profiles:
        for name in {canonical(profile.name), bare(profile.name)} - {""}:
            named.setdefault(name, []).append(profile)
    found = {}
    for place, kernel in enumerate(kernels):
        own, base = canonical(kernel.name), bare(kernel.name)
        some = named.get(own) or [
            profile for profile in named.get(base, []) if own == base or canonical(profile.name) == base
        ]
        if some:
            found[place] = mean(some, kernel.device_ns)
    return found


def mean(some: Sequence[KernelProfile], device_ns: int) -> KernelMeasure:
    """Return the mean of some profiles, weighted by time; a launch without a time counts as a nanosecond."""
    weights = [profile.duration_ns or 1 for profile in some]
    return KernelMeasure(
        covered_ns=device_ns,
        memory_pct=weighted([profile.memory_pct for profile in some], weights),
        compute_pct=weighted([profile.compute_pct for profile in some], weights),
        occupancy_pct=weighted([profile.occupancy_pct for profile in some], weights),
        limiter=most([profile.limiter for profile in some], weights),
        limit=most([profile.limit for profile in some], weights),
    )


def weighted(values: Sequence[float | None], weights: Sequence[int]) -> float | None:
    """Return the mean of the values that are there."""
    pairs = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None]
    total = sum(weight for _, weight in pairs)
    return sum(value * weight for value, weight in pairs) / total if total else None


def most(names: Sequence[Name], weights: Sequence[int]) -> Name:
    """Return the name with most weight."""
    total: dict[Name, int] = {}
    for name, weight in zip(names, weights, strict=True):
        total[name] = total.get(name, 0) + weight
    return max(total, key=lambda name: total[name])


def canonical(name: str) -> str:
    """Return a name without what compilers and profilers write differently: return type, parameters, casts, blanks."""
    name = SUFFIXES.sub(r"\1", CASTS.sub("", name.removeprefix("void ")))
    return BLANKS.sub("", without_parameters(name))


def bare(name: str) -> str:
    """Return a name without namespaces, template arguments and parameters."""
    stripped = name.removeprefix("void ").replace("(anonymous namespace)::", "")
    return BLANKS.sub("", re.split(r"[<(]", stripped, maxsplit=1)[0]).rpartition("::")[2]


def without_parameters(name: str) -> str:
    """Cut the list of parameters: the round bracket that the name ends with."""
    name = name.replace("(anonymous namespace)", "{anonymous}")
    if not name.endswith(")"):
        return name
    depth = 0
    for place in range(len(name) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(name[place], 0)
        if depth == 0:
            return name[:place]
    return name
