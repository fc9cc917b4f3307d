"""Activations and their derivatives, for the kernels that apply one: in Triton and in PyTorch.

    silu(a) = a * s,              silu'(a) = s * (1 + a * (1 - s)),                    s = sigmoid(a)
    gelu(a) = a * P,              gelu'(a) = P + a * exp(-a^2 / 2) / sqrt(2 pi),       P = (1 + erf(a / sqrt 2)) / 2
    gelutanh(a) = a / 2 * (1 + t), t = tanh(u), u = sqrt(2 / pi) * (a + 0.044715 * a^3)

Hendrycks and Gimpel, Gaussian Error Linear Units, 2016 (arXiv:1606.08415).
"""

from __future__ import annotations

from typing import Final

import torch

from perfkit_kernels.arithmetic import tanh
from perfkit_kernels.dialect import jit, tl

__all__ = ["ACTIVATIONS", "activate", "activated", "derivative", "slope"]

ACTIVATIONS: Final = ("silu", "gelu", "gelu_tanh")


def activated(a: torch.Tensor, activation: str) -> torch.Tensor:
    """Return what eager PyTorch makes of an activation."""
    if activation == "silu":
        return torch.nn.functional.silu(a)
    return torch.nn.functional.gelu(a, approximate="tanh" if activation == "gelu_tanh" else "none")


def derivative(a: torch.Tensor, activation: str) -> torch.Tensor:
    """Return the derivative, in the dtype of ``a``."""
    if activation == "silu":
        s = torch.sigmoid(a)
        return s * (1 + a * (1 - s))
    if activation == "gelu":
        return torch.special.ndtr(a) + a * torch.exp(-a * a / 2) * 0.3989422804014327
    t = torch.tanh(0.7978845608028654 * (a + 0.044715 * a * a * a))
    return (1 + t) / 2 + a / 2 * (1 - t * t) * 0.7978845608028654 * (1 + 3 * 0.044715 * a * a)


@jit
def activate(a, ACTIVATION: tl.constexpr):
    """Return the activation of float32 values."""
    if ACTIVATION == "silu":
        y = a / (1.0 + tl.exp(-a))
    elif ACTIVATION == "gelu":
        y = a * 0.5 * (1.0 + tl.math.erf(a * 0.7071067811865476))
    else:
        y = a * 0.5 * (1.0 + tanh(0.7978845608028654 * (a + 0.044715 * a * a * a)))
    return y


@jit
def slope(a, ACTIVATION: tl.constexpr):
    """Return the derivative at float32 values."""
    if ACTIVATION == "silu":
        s = 1.0 / (1.0 + tl.exp(-a))
        d = s * (1.0 + a * (1.0 - s))
    elif ACTIVATION == "gelu":
        d = 0.5 * (1.0 + tl.math.erf(a * 0.7071067811865476)) + a * tl.exp(-0.5 * a * a) * 0.3989422804014327
    else:
        t = tanh(0.7978845608028654 * (a + 0.044715 * a * a * a))
        d = 0.5 * (1.0 + t) + 0.5 * a * (1.0 - t * t) * 0.7978845608028654 * (1.0 + 0.134145 * a * a)
    return d
