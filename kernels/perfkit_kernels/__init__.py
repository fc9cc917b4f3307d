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
    distillation_kl,
    dropout_add_layer_norm,
    embedding_bag,
    gated_activation,
    group_norm_silu,
    int8_matvec,
    layer_norm,
    linear_cross_entropy,
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
    distillation_kl.SPEC,
    dropout_add_layer_norm.SPEC,
    embedding_bag.SPEC,
    gated_activation.SPEC,
    group_norm_silu.SPEC,
    int8_matvec.SPEC,
    layer_norm.SPEC,
    linear_cross_entropy.SPEC,
    rms_norm.SPEC,
    rope.SPEC,
    softmax.SPEC,
)
