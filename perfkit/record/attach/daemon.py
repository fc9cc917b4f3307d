"""Answers the profiler of torch as its daemon: processes with ``KINETO_USE_DAEMON=1`` ask one what to record.

They ask every five seconds or so, under `perfkit run` every second, by datagrams to an abstract socket of the name that
`dynolog` made common (Kineto's ``IpcFabricConfigClient`` and dynolog's ``FabricManager`` are the source of all that
follows). A datagram is a header, the size of the payload and its type, and the payload. ``ctxt`` introduces a process,
and is answered with how many there are; ``req`` asks for something to do, and is answered with the text of a
configuration, or nothing.

A process waits for its answer for some tenths of a second only. One that comes later is taken for the answer to its
next question, and so on: where a machine is busy an order may be heard one question late, if that is answered, too.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from perfkit.errors import UsageError

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

__all__ = ["Daemon"]

ADDRESS: Final = b"\0dynolog\0"
HEADER: Final = struct.Struct("<Q32s")
CONTEXT: Final = struct.Struct("<iiq")
REQUEST: Final = struct.Struct("<iiq")
CREDENTIALS: Final = struct.Struct("3i")
LARGEST: Final = 1 << 16
POLL_S: Final = 0.1
ON_DEMAND: Final = 2
"""The type of request that is about activities, which is what traces are made of."""


class Daemon:
    """The daemon of this machine, while it is entered."""

    def __init__(self) -> None:
        """Take the address.

        Raises:
            UsageError: Somebody else has it.
        """
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.given: set[int] = set()
        try:
            self.socket.bind(ADDRESS)
        except OSError as error:
            self.socket.close()
            if error.errno != errno.EADDRINUSE:
                raise
            raise UsageError(taken()) from error
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def answer(self, orders: Mapping[int, str], seconds: float, cancelled: threading.Event) -> set[int]:
        """Answer whoever asks for some time; returns the processes that were given their order, now or before.

        Args:
            orders: The configuration for each process that is to record; every other one is told to do nothing.
            seconds: How long to wait for questions; it is over earlier once all have their order.
            cancelled: Set by another thread to have it give up.
        """
        end = time.monotonic() + seconds
        while self.given != set(orders) and (left := end - time.monotonic()) > 0:
            self.answer_one(orders, min(left, POLL_S), cancelled)
        return self.given

    def answer_one(self, orders: Mapping[int, str], seconds: float, cancelled: threading.Event) -> None:
        """Answer one question, if one comes within some time."""
        if cancelled.is_set():
            raise KeyboardInterrupt
        self.socket.settimeout(seconds)
        try:
            data, control, _, sender = self.socket.recvmsg(LARGEST, socket.CMSG_SPACE(CREDENTIALS.size))
        except TimeoutError:
            return
        asker = self.asker(data, control)
        if asker is None:
            return
        kind, pid = asker
        if kind == b"ctxt":
            self.send(sender, kind, struct.pack("<i", 1))
            return
        order = orders.get(pid, "") if pid not in self.given else ""
        if self.send(sender, kind, order.encode()) and order:
            self.given.add(pid)

    def asker(self, data: bytes, control: list[tuple[int, int, bytes]]) -> tuple[bytes, int] | None:
        """Return what is asked, and by which process; None for what cannot be understood.

        The process is the one that the kernel vouches for: within a namespace of its own it may know itself by another
        number.
        """
        if len(data) < HEADER.size:
            return None
        _, kind = HEADER.unpack_from(data)
        kind = kind.rstrip(b"\0")
        if kind == b"req":
            if len(data) < HEADER.size + REQUEST.size or not REQUEST.unpack_from(data, HEADER.size)[0] & ON_DEMAND:
                return None
        elif kind != b"ctxt":
            return None
        for level, what, content in control:
            if level == socket.SOL_SOCKET and what == socket.SCM_CREDENTIALS and len(content) >= CREDENTIALS.size:
                return kind, int(CREDENTIALS.unpack_from(content)[0])
        return None

    def send(self, to: Any, kind: bytes, payload: bytes) -> bool:
        """Send an answer; who asked may be gone."""
        try:
            self.socket.sendto(HEADER.pack(len(payload), kind) + payload, to)
        except OSError:
            return False
        return True


def taken() -> str:
    """Say who has the address of the daemon, and what to do about it."""
    owner = holder()
    if owner is None:
        return (
            "another daemon on this machine already answers torch's profiler: trigger the trace with that one "
            "(dynolog: `dyno gputrace --pids PID --log-file FILE`), or stop it"
        )
    pid, name = owner
    if "perfkit" in name:
        return f"another `perfkit diagnose --pid` is at work (process {pid}): wait until it has finished"
    return (
        f"another daemon already answers torch's profiler on this machine: process {pid} ({name}). Trigger the trace "
        f"with that one (dynolog: `dyno gputrace --pids PID --log-file FILE`), or stop it"
    )


def holder() -> tuple[int, str] | None:
    """Return the process that holds the address, and its command line, where that can be seen."""
    try:
        lines = Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    inodes = {f"socket:[{line.split()[6]}]" for line in lines if line.split()[-1].rstrip("@\0") == "@dynolog"}
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            if any(str(file.readlink()) in inodes for file in (process / "fd").iterdir()):
                words = (process / "cmdline").read_bytes().split(b"\0")
                return int(process.name), b" ".join(words).decode("utf-8", "replace").strip()[:100]
        except OSError:
            continue
    return None
