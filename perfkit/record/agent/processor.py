"""How fast this process multiplies matrices: what the times of small products do not tell."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import torch

__all__ = ["KEY", "tell_of_the_processor"]

KEY = "perfkitProcessor"
SIZE = 384
"""Rows and columns: large enough for arithmetic to decide, small enough to take 2 ms of a slow core."""
TIMES = 8
"""The fastest counts."""


def tell_of_the_processor() -> str:
    """Return the JSON text of what a product of float32 matrices comes to, for the trace's header under `KEY`.

    It is measured with as many threads as the program's own products have: in 1 to 20 ms. Where a GPU computes it
    says nothing, and the text is empty.
    """
    if torch.cuda.is_initialized():
        return ""
    # A program can have changed nearly anything about tensors: then nothing is known.
    with suppress(RuntimeError, TypeError, ValueError), torch.no_grad():
        left = torch.ones((SIZE, SIZE), dtype=torch.float32, device="cpu")
        product = torch.empty_like(left)
        fastest = min(_lasts_ns(left, product) for _ in range(TIMES))
        return json.dumps({"flops_per_s": 2e9 * SIZE**3 / fastest, "threads": torch.get_num_threads()})
    return ""


def _lasts_ns(left: torch.Tensor, product: torch.Tensor) -> int:
    begun = time.perf_counter_ns()
    torch.mm(left, left, out=product)
    return max(time.perf_counter_ns() - begun, 1)
