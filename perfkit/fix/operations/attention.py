"""Attention: what `scaled_dot_product_attention` computes, with fewer keys than queries' heads, masks and dropping.

Where the weights are wanted as well there is no attention to be found, but still the softmax of scaled scores.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  as everybody does

from perfkit.fix.certainty import chance
from perfkit.fix.operations.form import Form, Pattern
from perfkit.fix.regions import CASTS, chance_of, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import fx

    from perfkit.fix.regions import Region

__all__ = ["PATTERNS"]

HOSTILE: Final = (0.0, 100.0, math.nan)
"""Of larger ones, gradients are differences of terms so large that nothing of them is left, whoever sums."""
MOST_SCALES: Final = 6
MOST_MASKS: Final = 2
NAMED: Final = "torch.nn.functional.scaled_dot_product_attention"


class Masking(NamedTuple):
    """What masks mean: made what is handed to PyTorch, or to be causal without one."""

    title: str
    made: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = ()
    causal: bool = False

    def of(self, masks: list[torch.Tensor]) -> torch.Tensor | None:
        """Return one mask: what is added to scores, or where they count."""
        one: torch.Tensor | None = None
        for mask, make in zip(masks, self.made, strict=False):
            other = make(mask)
            one = other if one is None else _together(one, other)
        return one


def _added(mask: torch.Tensor) -> torch.Tensor:
    if not mask.is_floating_point():
        message = "whole numbers are not added to scores"
        raise TypeError(message)
    return mask


def _together(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    if one.dtype == other.dtype == torch.bool:
        return one & other
    if other.dtype == torch.bool:
        one, other = other, one
    return other.masked_fill(~one, -torch.inf) if one.dtype == torch.bool else one + other


NO_MASK: Final = Masking("")
CAUSAL: Final = Masking(", causal", causal=True)
MASKS: Final = (
    Masking(", a mask added", (_added,)),
    Masking(", where a mask is set", (lambda mask: mask != 0,)),
    Masking(", where a mask is not set", (lambda mask: mask == 0,)),
)


def _attention_forms(region: Region) -> Iterator[Form]:
    floating = [at for at, node in enumerate(region.inputs) if node.meta["form"][2].is_floating_point]
    if not 3 <= len(region.inputs) <= 3 + MOST_MASKS or len(floating) < 3 or not _drops_weights(region):  # noqa: PLR2004
        return
    called = [node for node in region.nodes if name_of(node) == "scaled_dot_product_attention"]
    p = next(map(chance_of, region.chance()), 0.0)
    forms = [node.meta["form"][0] for node in region.inputs]
    for q, k, v in itertools.permutations(floating, 3):
        if not _attends(forms[q], forms[k], forms[v], region.output.meta["form"][0]):
            continue
        rest = [at for at in range(len(forms)) if at not in {q, k, v}]
        shared = forms[q][-3:-2] != forms[k][-3:-2]
        for scale in _scales(region, forms[q][-1]):
            for masking in _maskings(region, rest):
                repeats = any(node.all_input_nodes[1].meta["form"][0] != forms[k] for node in called)
                if called and not repeats and not (masking.causal and rest):
                    continue  # as it should be

                def native(
                    *given: Any, at: Any = (q, k, v), scale: float = scale, masking: Masking = masking,
                    rest: Any = rest, shared: bool = shared,
                ) -> tuple[torch.Tensor, ...]:  # fmt: skip
                    mask = masking.of([given[number] for number in rest])
                    q, k, v = (given[number] for number in at)
                    answer = F.scaled_dot_product_attention(
                        q, k, v, mask, chance(p), is_causal=masking.causal, scale=scale, enable_gqa=shared
                    )
                    return (answer,)

                heads = f", {forms[q][-3]} heads on {forms[k][-3]}" if shared else ""
                dropped = f", weights dropped with probability {p:g}" if p else ""
                yield Form(
                    "attention", f"attention, scale {scale:.4g}{heads}{masking.title}{dropped}", native,
                    (NAMED, native), hostile=HOSTILE, products=True,
                )  # fmt: skip


def _scales(region: Region, width: int) -> list[float]:
    """Return what scores could be multiplied by, what is usual first."""
    usual = 1 / math.sqrt(width)
    numbers = {value for value in region.constants() if value > 0}
    found = {usual, 1.0, *numbers, *(1 / value for value in numbers)}
    return sorted(found, key=lambda scale: abs(math.log(scale / usual)))[:MOST_SCALES]


def _maskings(region: Region, rest: list[int]) -> list[Masking]:
    """Return what the inputs beside the others could mean: what is always the same may be a causal mask."""
    if not rest:
        return [CAUSAL, NO_MASK] if "scaled_dot_product_attention" in region.names() else [NO_MASK]
    together = [
        Masking("".join(one.title for one in masks), tuple(one.made[0] for one in masks))
        for masks in itertools.product(MASKS, repeat=len(rest))
    ]
    always = len(rest) == 1 and region.inputs[rest[0]].meta.get("constant") is not None
    return [CAUSAL, *together] if always else together


def _drops_weights(region: Region) -> bool:
    """Whether nothing is dropped at random but the weights: what a softmax gives."""
    dropping = region.chance()
    if not dropping:
        return True
    (node,) = dropping if len(dropping) == 1 else (None,)
    if node is None or name_of(node) == "scaled_dot_product_attention":
        return node is not None
    before: fx.Node = node.all_input_nodes[0]
    while name_of(before) in CASTS and before in region.nodes:
        before = before.all_input_nodes[0]
    return name_of(before) == "softmax"


def _attends(q: torch.Size, k: torch.Size, v: torch.Size, y: torch.Size) -> bool:
    """Whether shapes are those of queries, keys, values and what they give."""
    if not len(q) == len(k) == len(v) == len(y) >= 3:  # noqa: PLR2004
        return False
    heads = q[-3] % k[-3] == 0 and (q[-3] == k[-3] or len(q) == 4)  # noqa: PLR2004
    return (
        heads
        and q[:-3] == k[:-3] == v[:-3]
        and k[-3] == v[-3]
        and y[:-2] == q[:-2]
        and q[-1] == k[-1]
        and k[-2] == v[-2]
        and tuple(y[-2:]) == (q[-2], v[-1])
    )


def _softmax_forms(region: Region) -> Iterator[Form]:
    from perfkit_kernels.softmax import reference, softmax

    shape, dtype = region.output.meta["form"][0], region.output.meta["form"][2]
    rows = [at for at, node in enumerate(region.inputs) if node.meta["form"][0] == shape]
    if not 0 < len(region.inputs) <= 1 + MOST_MASKS or not rows or not shape:
        return
    for x in (at for at in rows if region.inputs[at].meta["form"][2].is_floating_point):
        rest = [at for at in range(len(region.inputs)) if at != x]
        for scale in _scales(region, 1):
            for masking in _maskings(region, rest):

                def arranged(
                    given: Any, scale: float = scale, masking: Masking = masking, x: int = x, rest: Any = rest
                ) -> tuple[torch.Tensor, torch.Tensor | None, float, bool]:
                    mask = masking.of([given[number] for number in rest])
                    if mask is not None and mask.dtype == torch.bool:
                        mask = torch.zeros_like(mask, dtype=given[x].dtype).masked_fill(~mask, -torch.inf)
                    return given[x], mask, scale, masking.causal

                def plain(*given: Any, arranged: Any = arranged) -> tuple[torch.Tensor, ...]:
                    return (reference(*arranged(given)),)

                def kernel(*given: Any, arranged: Any = arranged) -> tuple[torch.Tensor, ...]:
                    return (softmax(*arranged(given)).to(dtype),)

                title = f"softmax of scores, scale {scale:.4g}{masking.title}"
                yield Form("softmax", title, plain, kernel=("softmax", kernel), hostile=(0.0, 1e4, math.nan))


PATTERNS: Final = (
    Pattern("attention", ("softmax", "scaled_dot_product_attention"), 1, _attention_forms, drops=True),
    Pattern("softmax", ("softmax",), 2, _softmax_forms),
)
