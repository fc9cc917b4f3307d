"""Tensors as rows: how kernels that work on the last dimension lay out their tiles."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from perfkit_kernels.dialect import INTERPRETING, next_power_of_2

if TYPE_CHECKING:
    import torch

__all__ = [
    "POINTS",
    "WARPS_OF_POINTS",
    "Steps",
    "Tile",
    "as_points",
    "as_rows",
    "merged",
    "persistent_programs",
    "tile",
]

WALKED = 4096
"""Elements of a row that is too long to be held, which a program takes at once."""
ELEMENTS = 2048
"""Elements that a program takes at least, where there are rows enough: short rows share a program."""
POINTS = 1024
"""Elements that a program takes at once where each stands for itself."""
WARPS_OF_POINTS = 4
INTERPRETED_PROGRAMS = 4


class Tile(NamedTuple):
    """The part of a matrix that a program holds at once: ``rows x block`` elements.

    ``whole`` tells whether a row fits; if not, the kernel walks along it.
    """

    rows: int
    block: int
    warps: int
    whole: bool


def tile(width: int, *, widest: int, live: int = 1) -> Tile:
    """Choose a tile for rows of a width.

    Args:
        width: Elements of a row.
        widest: The longest row that is held in registers, a power of two.
        live: How many values of each element are held at the same time; more of them take more warps.
    """
    block = next_power_of_2(max(width, 1))
    block = block if block <= widest else WALKED
    rows = max(1, min(ELEMENTS // block, 16))
    warps = min(16, max(4, next_power_of_2(block * rows * live) // 1024))
    return Tile(rows, block, warps, width <= block)


def as_rows(tensor: torch.Tensor) -> torch.Tensor:
    """View ``[..., width]`` as ``[rows, width]`` with consecutive elements; copies only where a view cannot do that."""
    rows = tensor.reshape(-1, tensor.shape[-1]) if tensor.numel() else tensor.new_empty(0, tensor.shape[-1])
    return rows if rows.stride(-1) == 1 or rows.shape[-1] == 1 else rows.contiguous()


def as_points(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """View tensors of one shape as ``[rows, width]``; as one row where all are contiguous."""
    if all(tensor.is_contiguous() for tensor in tensors):
        return tuple(tensor.view(1, -1) for tensor in tensors)
    return tuple(as_rows(tensor) for tensor in tensors)


class Steps(NamedTuple):
    """How the rows of tensors of one shape lie: three sizes, outermost first, and each tensor's three strides."""

    sizes: tuple[int, int, int]
    strides: tuple[tuple[int, int, int], ...]


def merged(*tensors: torch.Tensor) -> Steps | None:
    """Count the rows of tensors of one shape, expanded ones too, in three dimensions; None where it takes more."""
    found: list[list[int]] = []
    for size, *strides in zip(tensors[0].shape[:-1], *(tensor.stride()[:-1] for tensor in tensors), strict=True):
        if size == 1:
            continue
        outer = found[-1] if found else []
        if outer and all(before == stride * size for before, stride in zip(outer[1:], strides, strict=True)):
            found[-1] = [outer[0] * size, *strides]
        else:
            found.append([size, *strides])
    if len(found) > 3:  # noqa: PLR2004
        return None
    sizes, *strides = zip(*[[1] + [0] * len(tensors)] * (3 - len(found)), *found, strict=True)
    return Steps(sizes, tuple(strides))


def persistent_programs(device: torch.device, tiles: int, per_processor: int = 2) -> int:
    """Return how many programs walk over the tiles, each keeping partial sums of its own."""
    if INTERPRETING or device.type != "cuda":
        return max(1, min(INTERPRETED_PROGRAMS, tiles))
    return max(1, min(_processors(device) * per_processor, tiles))


@functools.cache
def _processors(device: torch.device) -> int:
    import torch

    return int(torch.cuda.get_device_properties(device).multi_processor_count)
