"""What becomes of a task that was handed to somebody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Lost", "Outcomes", "describe"]

Result = TypeVar("Result")


class Lost(NamedTuple):
    """A task without a result, and why in one line."""

    reason: str


class Outcome(NamedTuple, Generic[Result]):
    """The place of a task among the tasks, and its result."""

    place: int
    result: Result | Lost


if TYPE_CHECKING:
    Outcomes = Iterator[Outcome[Result]]


def describe(error: BaseException) -> str:
    """Say in one line what an exception that nobody expected was."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
