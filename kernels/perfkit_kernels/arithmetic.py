"""Functions that Triton does not have, or not as accurate or as strict about NaN as PyTorch's, of float32 values.

tanh near zero is Moshier's rational form (Cephes Math Library, tanhf.c); expm1 and log1p are Kahan's, as told by Higham
in Accuracy and Stability of Numerical Algorithms, section 1.14.1: what rounding did to the argument cancels out.
"""

from __future__ import annotations

from perfkit_kernels.dialect import jit, tl

__all__ = ["expm1", "log1p", "power", "row_max", "row_min", "tanh"]

NEAR = tl.constexpr(0.625)


@jit
def tanh(u):
    """Return the hyperbolic tangent; the exponential never overflows."""
    e = tl.exp(-2.0 * tl.abs(u))
    far = tl.where(u < 0, e - 1.0, 1.0 - e) / (1.0 + e)
    z = u * u
    p = (((-5.70498872745e-3 * z + 2.06390887954e-2) * z - 5.37397155531e-2) * z + 1.33314422036e-1) * z
    near = (p - 3.33332819422e-1) * z * u + u
    return tl.where(tl.abs(u) < NEAR, near, far)


@jit
def expm1(x):
    """Return ``exp(x) - 1``, accurate near zero."""
    e = tl.exp(x)
    usual = tl.where((e == 1.0) | (e == 0.0) | (e == float("inf")), 0.5, e)
    small = (usual - 1.0) * x / tl.log(usual)
    return tl.where(e == 1.0, x, tl.where((e == 0.0) | (e == float("inf")), e - 1.0, small))


@jit
def log1p(x):
    """Return ``log(1 + x)``, accurate near zero."""
    u = 1.0 + x
    usual = tl.where((u == 1.0) | (u == float("inf")), 2.0, u)
    return tl.where(u == 1.0, x, tl.where(u == float("inf"), u, tl.log(usual) * (x / (usual - 1.0))))


@jit
def power(x, exponent):
    """Return a power that is no odd whole one: in float64, since a large logarithm loses digits of what it is of."""
    size = tl.where(x == float("-inf"), float("inf"), x)  # as C has it; of what else is negative it is NaN
    return tl.exp2(tl.log2(size.to(tl.float64)) * exponent).to(tl.float32)


@jit
def row_max(x):
    """Return the largest value of each row, or NaN where there is one."""
    spoiled = tl.max((x != x).to(tl.int32), 1, keep_dims=True)  # noqa: PLR0124  x is NaN
    return tl.where(spoiled > 0, float("nan"), tl.max(x, 1, keep_dims=True))


@jit
def row_min(x):
    """Return the smallest value of each row, or NaN where there is one."""
    return -row_max(-x)
