"""Which processes a service is: those that listen on its port, and all that they started (Linux)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from perfkit.errors import UsageError
from perfkit.record.attach.target import look_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perfkit.record.attach.target import Target

__all__ = ["family", "listeners"]

LISTENS: Final = "0A"
PROC: Final = Path("/proc")


def family(pids: Iterable[int]) -> list[Target]:
    """Return those of some processes, and of all below them, that have loaded torch and can be looked at."""
    found = []
    for pid in with_children(set(pids)):
        try:
            target = look_at(pid)
        except UsageError:
            continue
        if target.uses_torch:
            found.append(target)
    return found


def listeners(port: int) -> set[int]:
    """Return the processes that hold the socket on which a TCP port is listened to, as far as that can be seen."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        for line in text(PROC / "net" / table).splitlines()[1:]:
            words = line.split()
            if words[3] == LISTENS and int(words[1].rpartition(":")[2], 16) == port:
                sockets.add(f"socket:[{words[9]}]")
    return {pid for pid in processes() if sockets & files(pid)} if sockets else set()


def with_children(pids: set[int]) -> list[int]:
    """Return processes and all that they started."""
    parents = {}
    for pid in processes():
        state = text(PROC / str(pid) / "stat").rpartition(")")[2].split()  # a name may hold brackets
        if state:
            parents[pid] = int(state[1])
    found = set(pids)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)


def processes() -> list[int]:
    """Return all processes that can be seen."""
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal()] if PROC.is_dir() else []


def files(pid: int) -> set[str]:
    """Return what the files of a process are, none where that may not be seen."""
    found = set()
    try:
        for entry in (PROC / str(pid) / "fd").iterdir():
            found.add(str(entry.readlink()))
    except OSError:
        pass
    return found


def text(path: Path) -> str:
    """Return the text of a file of the kernel, empty if it is gone."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
