"""GPU kernels, one operation to a file, each with the reference it is held to.

`KERNELS` is the sorted tuple of the kernels' specifications. Tests and benchmarks run over it, so a kernel is added by
a new file and one entry here. This package imports nothing of perfkit, and no analysis of perfkit imports it.
"""

from __future__ import annotations

from typing import Final

from perfkit_kernels import (
    add_rms_norm,
    bias_gelu,
    cross_entropy,
    dropout_add_layer_norm,
    gated_activation,
    layer_norm,
    rms_norm,
    rope,
    softmax,
)
from perfkit_kernels.spec import Spec

__all__ = ["KERNELS", "Spec"]

KERNELS: Final[tuple[Spec, ...]] = (
    add_rms_norm.SPEC,
    bias_gelu.SPEC,
    cross_entropy.SPEC,
    dropout_add_layer_norm.SPEC,
    gated_activation.SPEC,
    layer_norm.SPEC,
    rms_norm.SPEC,
    rope.SPEC,
    softmax.SPEC,
)
