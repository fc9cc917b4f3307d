"""How many processes at once: as many as there are processors for us, and as the memory has room for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["available_bytes", "processes"]

_KEPT_FREE: Final = 0.2
"""Part of the available memory that is left to others."""
_MEMINFO: Final = Path("/proc/meminfo")
_GROUP: Final = Path("/sys/fs/cgroup")


def processes(needs_bytes: Iterable[int], most: int | None = None) -> int:
    """Return how many processes should work at once.

    Args:
        needs_bytes: About how much memory each task takes at its peak.
        most: As many as the user wants, and no fewer where there are tasks for them; None to choose.
    """
    needs = sorted(needs_bytes, reverse=True)
    if most is not None:
        return max(min(most, len(needs)), 1)
    most = max(min(_processors(), len(needs)), 1)
    left = available_bytes()
    if left is None:
        return most
    room = left * (1 - _KEPT_FREE)
    fitting = 0
    for need in needs[:most]:  # the largest ones may meet
        room -= need
        if room < 0:
            break
        fitting += 1
    return max(fitting, 1)


def _processors() -> int:
    """Return how many processors there are for us: loky knows of the limits of containers, too."""
    try:
        from loky import cpu_count
    except ImportError:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(cpu_count())


def available_bytes() -> int | None:
    """Return the memory that can be had without swapping, in a container the container's; None where nothing tells."""
    known = [size for size in (_of_machine(), _of_group()) if size is not None]
    return min(known, default=None)


def _of_machine() -> int | None:
    """Read what Linux says of the machine."""
    try:
        for line in _MEMINFO.read_text().splitlines():
            name, _, amount = line.partition(":")
            if name == "MemAvailable":
                return int(amount.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _of_group() -> int | None:
    """Read what is left of the limit of a container (control groups, version 2); no limit is None."""
    try:
        limit = int((_GROUP / "memory.max").read_text())
        used = int((_GROUP / "memory.current").read_text())
        fields = dict(line.split() for line in (_GROUP / "memory.stat").read_text().splitlines())
        return max(limit - used + int(fields.get("inactive_file", 0)), 0)  # the page cache gives way
    except (OSError, ValueError):  # not there, or "max"
        return None
