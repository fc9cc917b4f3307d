"""What a recordable program is, and the stopwatch that tells how long its fault took."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")


class Stopwatch:
    """Host time spent inside its `with` blocks, added up in integer nanoseconds.

    Attributes:
        total_ns: the sum since the last reset.
    """

    def __init__(self) -> None:
        """Start at zero."""
        self.total_ns = 0
        self._began_ns = 0

    def __enter__(self) -> Self:
        """Begin a block."""
        self._began_ns = time.perf_counter_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Add the block's time."""
        self.total_ns += time.perf_counter_ns() - self._began_ns

    def reset(self) -> None:
        """Forget what was added."""
        self.total_ns = 0

    def over(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items, timing the wait for each but not what is done with it."""
        source = iter(items)
        while True:
            with self:
                try:
                    item = next(source)
                except StopIteration:
                    return
            yield item


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program to record.

    Attributes:
        name: the trace is called after it.
        source: the file it is in, relative to the repository.
        shows: one sentence: what the trace has to show on a GPU.
        shows_on_cpu: the same on a machine without one.
        fault: what the stopwatch surrounds; empty where nothing is wrong.
        steps: a generator function that does one step before each yield.
        repaired: the same work without the fault, to measure what the fault costs; None where nothing is to repair.
        with_stack: record Python frames too. They cost time at each call, so a loop bound by Python goes without.
    """

    name: str
    source: str
    shows: str
    shows_on_cpu: str
    fault: str
    steps: "Callable[[torch.device, Stopwatch], Iterator[None]]"
    repaired: "Callable[[torch.device, Stopwatch], Iterator[None]] | None"
    with_stack: bool
