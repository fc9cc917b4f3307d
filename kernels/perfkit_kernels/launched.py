"""What the compiler made of the kernels that were launched: whether registers were spilled, read off as they run."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from perfkit_kernels.dialect import AVAILABLE, INTERPRETING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["faults", "launched"]


@contextlib.contextmanager
def launched() -> Iterator[list[Any]]:
    """Give a list to which each launch of one of these kernels adds what Triton compiled for it."""
    found: list[Any] = []
    replaced = [(function, vars(function).get("run")) for function in _functions()]
    for function, _ in replaced:
        function.run = _recording(function.run, found)
    try:
        yield found
    finally:
        for function, own in replaced:
            del function.run
            if own is not None:
                function.run = own


def faults(kernels: list[Any]) -> str:
    """Say what is wrong with compiled kernels; nothing where nothing is.

    More shared memory than the chip has is no matter of judgement: Triton raises `OutOfResources` at the launch.
    """
    spills = max((int(kernel.n_spills or 0) for kernel in kernels), default=0)
    return f"spills {spills} registers of a thread" if spills else ""


def _functions() -> Iterator[Any]:
    """Yield the Triton functions of this package that are loaded."""
    if not AVAILABLE or INTERPRETING:
        return
    from triton.runtime.jit import JITFunction

    known: set[int] = set()
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == __package__:
            for value in list(vars(module).values()):
                if isinstance(value, JITFunction) and id(value) not in known:
                    known.add(id(value))
                    yield value


def _recording(run: Any, found: list[Any]) -> Any:
    def recorded(*args: Any, **kwargs: Any) -> Any:
        kernel = run(*args, **kwargs)
        if kernel is not None:
            found.append(kernel)
        return kernel

    return recorded
