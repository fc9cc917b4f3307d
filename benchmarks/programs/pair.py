"""What a program of the gallery is: the same work twice, with one planted fault and without it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    import torch

    Steps = Callable[[torch.device], Generator[torch.Tensor]]
    """Does one step before each yield, and yields what the step came to: a loss, or the answers."""

Number = TypeVar("Number", int, float)

VARIANT: Final = int(os.environ.get("GALLERY_VARIANT", "0"))
"""Which of the variants of all programs is meant, 0 to 3: to see whether what holds for one holds for others."""
SIZES: Final = (1.0, 0.75, 1.25, 0.5)
GRAIN: Final = 32
ROLES: Final = ("faulty", "repaired")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A program with a planted fault, and its repaired twin, which differs in nothing else.

    Attributes:
        name: What it is called.
        kind: What the program does.
        fault: What is wrong, in a few words.
        repair: What the twin does instead.
        rules: By type of device, the codes of the rules that name the fault; any of them is right.
        faulty: The steps with the fault.
        repaired: The same steps without it.
        items: How many items a step of each works on, where the repair is to do more of them at a time.
        period: Steps after which the program does the same again, such as those of an epoch; rounds are whole periods.
        settling_steps: Steps until queues are as full as they get.
        with_stack: Record Python frames too. They cost time at each call, so a loop bound by Python goes without.
    """

    name: str
    kind: Literal["training", "serving"]
    fault: str
    repair: str
    rules: Mapping[str, tuple[str, ...]]
    faulty: Steps
    repaired: Steps
    items: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(ROLES, 1))
    period: int = 1
    settling_steps: int = 3
    with_stack: bool = False

    def steps(self, role: str) -> Steps:
        """Return the steps of one of the two."""
        return self.faulty if role == "faulty" else self.repaired


def either(device: torch.device, cpu: int, cuda: int) -> int:
    """Return a size by device: a GPU needs larger ones to be as busy. It differs between variants of the programs."""
    size = (cuda if device.type == "cuda" else cpu) * SIZES[VARIANT]
    return round(size / GRAIN) * GRAIN if size >= 2 * GRAIN else max(round(size), 1)


def variant(*values: Number) -> Number:
    """Return the value of a parameter in this variant of the programs; the first is that of the results kept."""
    return values[VARIANT % len(values)]
