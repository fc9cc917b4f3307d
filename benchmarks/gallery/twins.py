"""Checks that a program and its repaired twin compute the same: `python -m benchmarks.gallery.twins NAME...`."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

    from benchmarks.programs import Pair

STEPS: Final = 3
MOST: Final = 1e-4
"""How far two answers may be apart, as a part of the largest: sums in another order, in single precision."""


def distance(pair: Pair, device: torch.device) -> float:
    """Return how far a program and its twin are apart after some steps, as a part of the largest number."""
    import torch

    loops = {"faulty": pair.faulty(device), "repaired": pair.repaired(device)}
    # As many steps of each as it takes to work on as many items as the other.
    turns = {"faulty": pair.items["repaired"], "repaired": pair.items["faulty"]}
    furthest = 0.0
    for _ in range(STEPS):
        ours, theirs = (
            torch.cat([next(loop).reshape(-1) for _ in range(turns[role])]).double() for role, loop in loops.items()
        )
        furthest = max(furthest, float((ours - theirs).abs().max() / theirs.abs().max()))
    for loop in loops.values():
        loop.close()
    return furthest


def main() -> int:
    """Check the named programs; return an exit code."""
    import torch

    from benchmarks.programs import PROGRAMS

    warnings.filterwarnings("ignore", message="This DataLoader will create")
    torch.set_num_threads(1)
    # As precise on a GPU as on a CPU.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    failed = 0
    for pair in PROGRAMS:
        if pair.name in sys.argv[1:]:
            apart = distance(pair, device)
            failed += not apart <= MOST
            print(f"{'same' if apart <= MOST else 'DIFFERENT':9} {pair.name}: {apart:.1e}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
