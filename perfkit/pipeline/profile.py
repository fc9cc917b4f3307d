"""`perfkit.profile()`: record what runs inside a ``with`` block or a function, and diagnose it at its end."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ContextDecorator
from pathlib import Path
from typing import TYPE_CHECKING, Self

from perfkit.errors import UsageError
from perfkit.pipeline.diagnose import diagnose

if TYPE_CHECKING:
    from types import TracebackType

    from perfkit.model.diagnosis import Diagnosis
    from perfkit.record.agent.window import Window

__all__ = ["profile"]


class profile(ContextDecorator):  # noqa: N801  used like a function
    """Records a ``with`` block, or each call of a function that it decorates, and diagnoses it.

        with perfkit.profile() as profiled:
            for batch in loader:
                train_step(batch)
        profiled.diagnosis.advice.verdict

    Steps are those of the optimizer; where there is none, call `step` at the beginning of each. In a notebook the
    diagnosis is displayed, elsewhere it is printed to standard error.

    Args:
        stacks: Record the lines of Python; costs time at each call.
        shapes: Record the shapes of operators' inputs.
        memory: Record allocations.
        trace: Where to keep the trace; it is removed once it is diagnosed if None.
        show: Show the diagnosis at the end.

    Attributes:
        diagnosis: The diagnosis, once the block has ended; None before.

    Raises:
        UsageError: torch is not there, or something else is recording in this process.
    """

    def __init__(
        self,
        *,
        stacks: bool = False,
        shapes: bool = False,
        memory: bool = False,
        trace: str | Path | None = None,
        show: bool = True,
    ) -> None:
        self.wanted = {"stacks": stacks, "shapes": shapes, "memory": memory}
        self.trace = trace
        self.show = show
        self.diagnosis: Diagnosis | None = None
        self.window: Window | None = None
        self.marked = False

    def _recreate_cm(self) -> Self:
        """Give each call of a decorated function a recording of its own."""
        return type(self)(**self.wanted, trace=self.trace, show=self.show)

    def __enter__(self) -> Self:
        """Begin to record."""
        try:
            from torch.autograd import profiler

            from perfkit.record.agent.window import Window
        except ImportError as error:
            message = "perfkit.profile() records what torch does, and torch is not installed here"
            raise UsageError(message) from error
        if profiler._is_profiler_enabled:  # noqa: SLF001  torch has no public name for it
            message = (
                "something else is recording in this process: end that profiler first, or leave perfkit.profile() out"
            )
            raise UsageError(message)
        window = Window(**self.wanted)
        window.prepare()
        window.start()
        self.window = window
        return self

    def step(self) -> None:
        """Say that a step begins here; it lasts until the next one, or the end of the block."""
        if self.window is not None:
            self.window.step(last=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the recording, whatever ended the block; diagnose and show it unless that was an exception."""
        window, self.window = self.window, None
        if window is None:
            return
        window.step(last=True)
        window.stop()
        with tempfile.TemporaryDirectory(prefix="perfkit-") as folder:
            path = Path(self.trace) if self.trace is not None else Path(folder) / "profile.json"
            fault = window.save(str(path))
            if kind is not None:
                return
            if fault:
                message = f"{path}: {fault}"
                raise UsageError(message)
            self.diagnosis = diagnose(path)
        if self.show:
            self.display()

    def display(self) -> None:
        """Show the diagnosis: as rich text in a notebook, else on standard error."""
        if "IPython" in sys.modules and _in_notebook():
            from IPython.display import display

            display(self)
            return
        sys.stderr.write(str(self))

    def __str__(self) -> str:
        """Return the diagnosis as text."""
        if self.diagnosis is None:
            return "perfkit.profile(): nothing is recorded yet\n"
        from perfkit.report import terminal
        from perfkit.report.pen import Pen

        return terminal.draw(self.diagnosis, Pen(width=80, colour=False, unicode=True))

    def _repr_markdown_(self) -> str | None:
        """Return what Jupyter displays."""
        if self.diagnosis is None:
            return None
        from perfkit.report import markdown

        return markdown.draw(self.diagnosis)


def _in_notebook() -> bool:
    """Tell whether a notebook shows what is displayed; a shell in a terminal does not render Markdown."""
    shell = sys.modules["IPython"].get_ipython()
    return shell is not None and shell.__class__.__name__ == "ZMQInteractiveShell"
