"""A process that is to be recorded while it runs: whether it may be, and how."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

from perfkit.errors import UsageError

__all__ = ["Target", "look_at"]

OTHER_PROFILERS: Final = {
    "libToolsInjection": "Nsight Systems",
    "libnsys": "Nsight Systems",
    "libcuda-injection": "Nsight Compute",
    "librocprofiler": "rocprof",
}
"""Libraries that a profiler puts into a process, and whose they are: a GPU serves one profiler at a time."""


class Target(NamedTuple):
    """A process that runs.

    Attributes:
        pid: Its process id.
        program: Its command line.
        user: Whom it belongs to, as a user id.
        asks_daemon: Whether the profiler of torch in it asks a daemon what to record.
    """

    pid: int
    program: str
    user: int
    asks_daemon: bool

    def is_alive(self) -> bool:
        """Tell whether it still runs; what is dead and not yet waited for does not."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        except OSError:
            return False
        return state.split()[0] not in {"Z", "X"}


def look_at(pid: int) -> Target:
    """Look at a process.

    Raises:
        UsageError: It is not there, not ours, in another container, or already being profiled.
    """
    place = Path(f"/proc/{pid}")
    if not Path("/proc/self/environ").exists():
        message = "--pid needs Linux: put `perfkit diagnose --` before the command instead"
        raise UsageError(message)
    try:
        user = place.stat().st_uid
        program = read(place / "cmdline")
    except FileNotFoundError as error:
        message = f"there is no process {pid}: give the id of a Python process that runs"
        raise UsageError(message) from error
    if os.geteuid() not in {0, user}:
        message = f"process {pid} belongs to {name_of(user)}: run perfkit as that user"
        raise UsageError(message)
    try:
        elsewhere = any(
            (place / "ns" / kind).readlink() != Path(f"/proc/self/ns/{kind}").readlink()
            for kind in ("mnt", "net", "pid")
        )
        variables = (place / "environ").read_bytes().split(b"\0")
        mapped = read(place / "maps")
    except OSError as error:
        message = (
            f"process {pid} cannot be looked at ({error.strerror or error}): run perfkit as its user, and in a "
            f"container with `--cap-add SYS_PTRACE`"
        )
        raise UsageError(message) from error
    if elsewhere:
        message = f"process {pid} runs in another container: run perfkit in there"
        raise UsageError(message)
    for library, profiler in OTHER_PROFILERS.items():
        if library in mapped:
            message = f"process {pid} is being profiled by {profiler}, and a GPU serves one profiler: end that first"
            raise UsageError(message)
    asks = any(
        entry.startswith(b"KINETO_USE_DAEMON=") and len(entry) > len(b"KINETO_USE_DAEMON=") for entry in variables
    )
    return Target(pid, program[:500], user, asks)


def read(path: Path) -> str:
    """Return the text of a file of the kernel."""
    return path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()


def name_of(user: int) -> str:
    """Name a user."""
    import pwd  # not there on Windows

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
