"""What is to be recorded: the agreement between the process that launches and the agent in the program."""

from __future__ import annotations

import json
from typing import NamedTuple

__all__ = ["Plan"]


class Plan(NamedTuple):
    """What to record of a program.

    Attributes:
        steps: How many steps.
        warmup: How many steps to let pass first.
        duration_s: Record so many seconds instead of steps; None for steps.
        after_s: Where seconds are recorded, how many to let pass after torch was imported.
        shapes: Record the shapes of operators' inputs.
        stacks: Record the lines of Python; costs time at each call.
        memory: Record allocations.
    """

    steps: int = 5
    warmup: int = 10
    duration_s: float | None = None
    after_s: float = 5.0
    shapes: bool = False
    stacks: bool = False
    memory: bool = False

    def text(self, folder: str) -> str:
        """Return what the agent is told through its environment."""
        return json.dumps({**self._asdict(), "folder": folder})
