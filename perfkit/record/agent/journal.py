"""Files that outlive the process, however it ends: a status of fixed size, and events as they happen."""

from __future__ import annotations

import json
import os
from typing import Any

__all__ = ["Journal", "Status"]

STATUS_BYTES = 8192
"""Taken at the start and rewritten in place: a disk that fills up later cannot keep a process from saying so."""
MOST_EVENTS = 200_000
"""Events in a journal; some 30 MB."""
FLUSH_EVENTS = 64


class Status:
    """What is known of a process, as one JSON object in a file."""

    def __init__(self, path: str, **facts: Any) -> None:
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.facts: dict[str, Any] = {}
        self.set(**facts)

    def set(self, **facts: Any) -> None:
        """Add or replace facts."""
        self.facts.update(facts)
        text = json.dumps(self.facts).encode()
        if len(text) <= STATUS_BYTES:
            os.pwrite(self.file, text.ljust(STATUS_BYTES), 0)


class Journal:
    """Chrome events in a file, the oldest first; each can be read as soon as it was flushed.

    Times are nanoseconds since 1970. The list of events is never closed: whoever reads the file takes it as cut off.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.file = -1
        self.pending: list[str] = []
        self.events = 0

    def add(
        self,
        name: str,
        start_ns: int,
        end_ns: int,
        thread: int | str,
        category: str = "user_annotation",
        **details: Any,
    ) -> None:
        """Note a range of a thread."""
        if self.events >= MOST_EVENTS:
            return
        self.events += 1
        start, length = (f"{ns // 1000}.{ns % 1000:03}" for ns in (start_ns, end_ns - start_ns))
        self.pending.append(
            f'{{"ph": "X", "cat": "{category}", "name": {json.dumps(name)}, "pid": {os.getpid()}, '
            f'"tid": {json.dumps(thread)}, "ts": {start}, "dur": {length}, "args": {json.dumps(details)}}}'
        )
        if len(self.pending) >= FLUSH_EVENTS:
            self.flush()

    def flush(self) -> None:
        """Write what was noted; the kernel keeps it even if the process is killed. A full disk loses it."""
        if not self.pending:
            return
        text, self.pending = ",\n".join(self.pending), []
        try:
            if self.file < 0:
                self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
                text = f'{{"traceEvents": [\n{text}'
            else:
                text = f",\n{text}"
            os.write(self.file, text.encode())
        except OSError:
            self.events = MOST_EVENTS
