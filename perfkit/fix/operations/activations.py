"""Activations that are written out, gated ones, and GELU after a linear layer with a bias."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import torch.nn.functional as F  # noqa: N812  as everybody does

from perfkit.fix.operations.form import Form, Pattern, rows
from perfkit.fix.regions import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from perfkit.fix.regions import Region

__all__ = ["PATTERNS"]

HOSTILE: Final = (0.0, 1e4, -1e4, math.nan)
"""Without infinity, of which PyTorch's own GELU makes one thing on a CPU and another on a GPU."""
HOSTILE_TO_PRODUCTS: Final = (0.0, math.nan)
TITLES: Final = {"silu": "SiLU", "gelu": "GELU", "gelu_tanh": "GELU by tanh"}


def _gelu_forms(region: Region) -> Iterator[Form]:
    from perfkit_kernels import activations, bias_gelu

    if len(region.inputs) != 1:
        return
    for activation in activations.ACTIVATIONS:

        def plain(*given: Any, activation: str = activation) -> tuple[torch.Tensor, ...]:
            return (activations.activated(given[0], activation),)

        def kernel(*given: Any, activation: str = activation) -> tuple[torch.Tensor, ...]:
            return (bias_gelu.bias_gelu(given[0], None, activation),)

        named = "torch.nn.functional.silu" if activation == "silu" else "torch.nn.functional.gelu"
        ours = None if activation == "silu" else ("bias_gelu", kernel)
        yield Form(activation, f"{TITLES[activation]}, written out", plain, (named, plain), ours, HOSTILE)


def _bias_gelu_forms(region: Region) -> Iterator[Form]:
    from perfkit_kernels import activations, bias_gelu

    forms = [node.meta["form"][0] for node in region.inputs]
    if len(forms) != 3 or sorted(map(len, forms))[:2] != [1, 2]:  # noqa: PLR2004
        return
    shape = region.output.meta["form"][0]
    bias = next(at for at, form in enumerate(forms) if len(form) == 1)
    there = {name_of(node) for node in region.nodes} <= {"linear", "gelu"}
    for x, weight in ((x, w) for x in range(3) for w in range(3) if len({x, w, bias}) == 3):  # noqa: PLR2004
        if len(forms[weight]) != 2 or forms[x][:-1] != shape[:-1]:  # noqa: PLR2004
            continue
        for transposed in (False, True):
            if tuple(forms[weight][:: -1 if transposed else 1]) != (shape[-1], forms[x][-1]):
                continue
            for activation in bias_gelu.ACTIVATIONS:

                def plain(
                    *given: Any, at: Any = (x, weight), transposed: bool = transposed, activation: str = activation
                ) -> tuple[torch.Tensor, ...]:
                    matrix = given[at[1]].mT if transposed else given[at[1]]
                    return (activations.activated(F.linear(given[at[0]], matrix, given[bias]), activation),)

                def kernel(
                    *given: Any, at: Any = (x, weight), transposed: bool = transposed, activation: str = activation
                ) -> tuple[torch.Tensor, ...]:
                    matrix = given[at[1]].mT if transposed else given[at[1]]
                    return (bias_gelu.bias_gelu(F.linear(given[at[0]], matrix), given[bias], activation),)

                yield Form(
                    "bias_gelu", f"linear with a bias, then {TITLES[activation]}", plain,
                    ("torch.nn.functional.linear, then gelu", plain), ("bias_gelu", kernel), HOSTILE_TO_PRODUCTS,
                    products=True, called=there,
                )  # fmt: skip


def _gated_forms(region: Region) -> Iterator[Form]:
    from perfkit_kernels import activations, gated_activation

    if len(region.inputs) != 2 or len(rows(region)) != 2:  # noqa: PLR2004
        return
    for activation in activations.ACTIVATIONS:
        for a, b in ((0, 1), (1, 0)):

            def plain(*given: Any, a: int = a, b: int = b, activation: str = activation) -> tuple[torch.Tensor, ...]:
                return (gated_activation.reference(given[a], given[b], activation),)

            def kernel(*given: Any, a: int = a, b: int = b, activation: str = activation) -> tuple[torch.Tensor, ...]:
                return (gated_activation.gated_activation(given[a], given[b], activation),)

            title = {"silu": "SwiGLU", "gelu": "GeGLU", "gelu_tanh": "GeGLU by tanh"}[activation]
            named = f"torch.nn.functional.{activation.removesuffix('_tanh')}, multiplied"
            there = {name_of(node) for node in region.nodes} <= {"silu", "gelu", "mul"}
            ours = "gated_activation", kernel
            yield Form("gated_activation", title, plain, (named, plain), ours, HOSTILE, called=there)


WRITTEN: Final = ("tanh", "erf", "sigmoid", "exp", "ndtr")
PATTERNS: Final = (
    Pattern("bias_gelu", ("tanh", "erf", "gelu", "ndtr"), 2, _bias_gelu_forms),
    Pattern("gated_activation", ("silu", "gelu", *WRITTEN), 2, _gated_forms),
    Pattern("gelu", WRITTEN, 2, _gelu_forms),
)
