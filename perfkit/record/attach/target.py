"""A process that is to be recorded while it runs: whether it may be, and how."""

from __future__ import annotations

import os
import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from perfkit.errors import UsageError

__all__ = ["SELDOM_S", "Target", "ends_for_memory", "look_at"]

EXIT_CODE: Final = 49
"""Place of how a process ended in its ``stat``, counted from the letter of its state (proc_pid_stat(5): field 52)."""
OTHER_PROFILERS: Final = {
    "libToolsInjection": "Nsight Systems",
    "libnsys": "Nsight Systems",
    "libcuda-injection": "Nsight Compute",
    "librocprofiler": "rocprof",
}
"""Libraries that a profiler puts into a process, and whose they are: a GPU serves one profiler at a time."""
OFTEN: Final = (b"KINETO_CONFIG=", b"/record/inject/kineto.conf")
"""How a variable begins and ends that `perfkit run` sets."""
OFTEN_S: Final = 1
SELDOM_S: Final = 5
"""So often a process asks its daemon of itself; half as often if nobody answered."""
STARTS_WITHIN_S: Final = 30.0
BECOMES_WITHIN_S: Final = 0.5
POLL_S: Final = 0.05


class Target(NamedTuple):
    """A process that runs.

    Attributes:
        pid: Its process id.
        program: Its command line.
        user: Whom it belongs to, as a user id.
        asks_every_s: How often the profiler of torch in it asks a daemon what to record; never is 0.
        uses_torch: Whether it has loaded torch.
        uses_gpu: Whether it has loaded the driver of a GPU.
    """

    pid: int
    program: str
    user: int
    asks_every_s: int
    uses_torch: bool
    uses_gpu: bool

    @property
    def asks_daemon(self) -> bool:
        """Whether it can be told by a daemon what to record."""
        return self.asks_every_s > 0

    def is_alive(self) -> bool:
        """Tell whether it still runs; what is dead and not yet waited for does not."""
        return self.state()[:1] not in ([], ["Z"], ["X"])

    def how_it_ended(self) -> str:
        """Say how it ended, as far as that can be seen: until its parent has asked, by whoever may trace it."""
        state = self.state()
        code = int(state[EXIT_CODE]) if len(state) > EXIT_CODE else 0
        if code & 0x7F:
            return f"was killed by {signal_name(code & 0x7F)}"
        return f"ended with status {code >> 8}" if code else "ended"

    def state(self) -> list[str]:
        """Return what the kernel says of its state, from the letter on; nothing once it is gone."""
        try:
            said = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        return said.rpartition(")")[2].split()  # a name may hold brackets


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
        program = program_of(place)
    except FileNotFoundError as error:
        raise UsageError(gone(pid)) from error
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
    except (FileNotFoundError, ProcessLookupError) as error:  # it ended just now, or nobody has asked yet how it ended
        raise UsageError(gone(pid)) from error
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
    often = any(entry.startswith(OFTEN[0]) and entry.endswith(OFTEN[1]) for entry in variables)
    every_s = (OFTEN_S if often else SELDOM_S) if asks else 0
    uses_gpu = any(library in mapped for library in ("libcuda.so", "libamdhip64", "libze_loader"))
    return Target(pid, program[:500], user, every_s, "libtorch" in mapped, uses_gpu)


def program_of(place: Path) -> str:
    """Return the command line of a process, once it has one: `perfkit run` becomes its program under its own id.

    Raises:
        FileNotFoundError: The process is gone.
    """
    begun = time.monotonic()
    while time.monotonic() < begun + patience((place / "cmdline").read_bytes()):
        time.sleep(POLL_S)
    return read(place / "cmdline")


def patience(line: bytes) -> float:
    """Return how long (s) a process with such a command line may yet take to become another program."""
    if not line:  # it is about to be there, or dead
        return BECOMES_WITHIN_S
    words = line.split(b"\0")
    starts = any(name.endswith((b"perfkit", b"perfkit.cli")) and verb == b"run" for name, verb in pairwise(words))
    return STARTS_WITHIN_S if starts else 0.0


def signal_name(number: int) -> str:
    """Name a signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def ends_for_memory() -> int:
    """Return how many processes this machine has killed so far since memory ran out; 0 where it does not say."""
    try:
        said = Path("/proc/vmstat").read_text(encoding="utf-8")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in said.splitlines() if line.startswith("oom_kill ")), 0)


def gone(pid: int) -> str:
    """Say that there is no such process."""
    return f"there is no process {pid}: give the id of a Python process that runs"


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
