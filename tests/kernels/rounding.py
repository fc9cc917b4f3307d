"""Triton's interpreter cuts the last bits off where it converts float32 to bfloat16; GPUs round to the nearest."""

from __future__ import annotations

from typing import Any

import numpy as np


def install() -> None:
    """Have the interpreter convert as a GPU does."""
    from triton.language import bfloat16, float32
    from triton.runtime import interpreter

    convert = interpreter._convert_float

    def rounding(value: Any, source: Any, target: Any, mode: Any) -> Any:
        if (source, target) == (float32, bfloat16):
            bits = np.ascontiguousarray(value).view(np.uint32).astype(np.uint64)
            nearest = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
            return np.where(np.isnan(value), np.uint16(0x7FC0), nearest)
        if (source, target) == (bfloat16, float32):
            return (np.ascontiguousarray(value).astype(np.uint32) << 16).view(np.float32)
        return convert(value, source, target, mode)

    interpreter._convert_float = rounding
