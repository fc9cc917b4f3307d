"""A progress bar for what takes longer than one is ready to wait without one."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress, TaskID

__all__ = ["LateProgress"]

PATIENCE_S: Final = 1.0


class LateProgress:
    """Shows the bytes read, or other units done, on standard error, if that is a terminal, once a second has passed."""

    def __init__(self, label: str, unit: str = "") -> None:
        self.label = self.name = label
        self.unit = unit
        self.shows_at = time.monotonic() + PATIENCE_S if sys.stderr.isatty() else float("inf")
        self.bar: Progress | None = None
        self.task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, done_bytes: int, total_bytes: int | None) -> None:
        """Say how much was read."""
        if time.monotonic() < self.shows_at:
            return
        if self.bar is None:
            self._show()
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=done_bytes, total=total_bytes)

    def stage(self, name: str) -> Self:
        """Say what is being done now; returns what to call with how much of it is done."""
        self.name = f"{name} {self.label}"
        if self.bar is not None and self.task is not None:
            self.bar.reset(self.task, description=self.name, total=None)
        return self

    def _show(self) -> None:
        """Begin to draw; rich is imported only here, since most traces are read before it would be."""
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        done = TextColumn(f"{{task.completed:,.0f}} {self.unit}") if self.unit else DownloadColumn()
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), done, TimeRemainingColumn())
        self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self.task = self.bar.add_task(self.name, total=None)
        self.bar.start()
