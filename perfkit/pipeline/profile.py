"""`perfkit.profile()`: record what runs inside a ``with`` block or a function, and diagnose it at its end."""

from __future__ import annotations

import inspect
import sys
import tempfile
from contextlib import ContextDecorator, aclosing
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast, overload

from perfkit.errors import PerfkitError, UsageError
from perfkit.pipeline.diagnose import diagnose

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from types import TracebackType

    from perfkit.model.diagnosis import Diagnosis
    from perfkit.record.agent.window import Window

__all__ = ["Profile", "profile"]

F = TypeVar("F", bound="Callable[..., Any]")


@overload
def profile(function: F, /) -> F: ...


@overload
def profile(
    *,
    stacks: bool = False,
    shapes: bool = False,
    memory: bool = False,
    trace: str | Path | None = None,
    show: bool = True,
) -> Profile: ...


def profile(
    function: Callable[..., Any] | None = None,
    /,
    *,
    stacks: bool = False,
    shapes: bool = False,
    memory: bool = False,
    trace: str | Path | None = None,
    show: bool = True,
) -> Any:
    """Record a ``with`` block, or each call of a function that this decorates, and diagnose it.

        with perfkit.profile() as profiled:
            for batch in loader:
                train_step(batch)
        profiled.diagnosis.advice.verdict

    Steps are those of the optimizer; where there is none, call `Profile.step` at the beginning of each. In a notebook
    the diagnosis is displayed, elsewhere it is printed to standard error. It is made of what was recorded also when an
    exception ends the block. A generator or a coroutine is recorded from when it begins to run until it ends.

    Args:
        function: What to decorate, where this is used without parentheses.
        stacks: Record the lines of Python; costs time at each call.
        shapes: Record the shapes of operators' inputs.
        memory: Record allocations.
        trace: Where to keep the trace; it is removed once it is diagnosed if None.
        show: Show the diagnosis at the end.

    Raises:
        TypeError: What is to be decorated cannot be called.
        UsageError: torch is not there, or something else is recording in this process.
    """
    if function is not None and not callable(function):
        message = f"perfkit.profile() takes its options by name, and decorates functions: {function!r} is none"
        raise TypeError(message)
    found = Profile(stacks=stacks, shapes=shapes, memory=memory, trace=trace, show=show)
    return found if function is None else found(function)


class Profile(ContextDecorator):
    """A recording of a ``with`` block or of calls of a function, with the options of `profile`.

    Attributes:
        diagnosis: The diagnosis, once the block has ended; None before.
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

    def __call__(self, function: F) -> F:
        """Decorate a function: its body is recorded, also where a call alone does not run it."""
        wrapped: Any
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def wrapped(*arguments: Any, **named: Any) -> Any:
                with self._recreate_cm():
                    return await function(*arguments, **named)

        elif inspect.isgeneratorfunction(function):

            @wraps(function)
            def wrapped(*arguments: Any, **named: Any) -> Generator[Any, Any, Any]:
                with self._recreate_cm():
                    return (yield from function(*arguments, **named))

        elif inspect.isasyncgenfunction(function):
            wrapped = _asynchronous_generator(function, self._recreate_cm)
        else:
            wrapped = super().__call__(function)
        return cast("F", wrapped)

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
        """End the recording, diagnose and show it, whatever ended the block; an exception goes on."""
        window, self.window = self.window, None
        if window is None:
            return
        window.step(last=True)
        window.stop()
        try:
            self.diagnose(window)
        except PerfkitError as problem:
            if error is None:
                raise
            error.add_note(f"perfkit.profile(): {problem}")
            return
        if self.show:
            self.display()

    def diagnose(self, window: Window) -> None:
        """Write what was recorded, and diagnose it.

        Raises:
            PerfkitError: It cannot be.
        """
        with tempfile.TemporaryDirectory(prefix="perfkit-") as folder:
            path = Path(self.trace) if self.trace is not None else Path(folder) / "profile.json"
            fault = window.save(str(path))
            if fault:
                message = f"{path}: {fault}"
                raise UsageError(message)
            self.diagnosis = diagnose(path)

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


def _asynchronous_generator(
    function: Callable[..., AsyncGenerator[Any, Any]], recording: Callable[[], Profile]
) -> Callable[..., AsyncGenerator[Any, Any]]:
    """Return an asynchronous generator function that is recorded; it has no ``yield from`` that would pass all on."""

    @wraps(function)
    async def wrapped(*arguments: Any, **named: Any) -> AsyncGenerator[Any, Any]:
        with recording():
            async with aclosing(function(*arguments, **named)) as items:
                step = anext(items)
                while True:
                    try:
                        item = await step
                    except StopAsyncIteration:
                        return
                    try:
                        step = items.asend((yield item))
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001  it is the function's to take
                        step = items.athrow(error)

    return wrapped


def _in_notebook() -> bool:
    """Tell whether a notebook shows what is displayed; a shell in a terminal does not render Markdown."""
    shell = sys.modules["IPython"].get_ipython()
    return shell is not None and shell.__class__.__name__ == "ZMQInteractiveShell"
