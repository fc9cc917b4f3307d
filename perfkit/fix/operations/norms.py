"""Norms, with what stands before them (a residual added, elements dropped) and after them (SiLU)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
import torch.nn.functional as F  # noqa: N812  as everybody does

from perfkit.fix.certainty import chance
from perfkit.fix.operations.form import Form, Pattern, epsilons, split
from perfkit.fix.regions import chance_of, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.fix.regions import Region

__all__ = ["PATTERNS"]


def _rms_forms(region: Region) -> Iterator[Form]:
    from perfkit_kernels.rms_norm import CASTINGS, reference, rms_norm

    found = split(region, rows=1, weights=1)
    if found is None:
        return
    (x,), held = found
    for eps in epsilons(region):
        for casting in CASTINGS if held else CASTINGS[:1]:
            number = eps if eps is not None else torch.finfo(region.inputs[x].meta["form"][2]).eps

            def arranged(given: Any, x: int = x, held: Any = held) -> tuple[torch.Tensor, torch.Tensor | None]:
                return given[x], given[held[0]] if held else None

            def native(*given: Any, number: Any = number, casting: str = casting) -> tuple[torch.Tensor, ...]:
                rows, weight = arranged(given)
                return (F.rms_norm(rows, rows.shape[-1:], _weight(weight, casting), number),)

            def plain(*given: Any, number: Any = number, casting: str = casting) -> tuple[torch.Tensor, ...]:
                return (reference(*arranged(given), number, casting),)

            def kernel(*given: Any, number: Any = number, casting: str = casting) -> tuple[torch.Tensor, ...]:
                return (rms_norm(*arranged(given), number, casting),)

            weighted = {"gemma": ", times 1 + weight", "llama": ", times weight", "torch": ", times weight"}[casting]
            yield Form(
                "rms_norm", f"RMSNorm, eps {number:g}{weighted if held else ''}", plain,
                ("torch.nn.functional.rms_norm", native), ("rms_norm", kernel), called=_is_only(region, "rms_norm"),
            )  # fmt: skip


def _add_rms_forms(region: Region) -> Iterator[Form]:
    from perfkit_kernels import add_rms_norm
    from perfkit_kernels.rms_norm import CASTINGS

    found = split(region, rows=2, weights=1)
    if found is None:
        return
    (a, b), held = found
    for eps in epsilons(region)[1:]:
        for casting in CASTINGS if held else CASTINGS[:1]:

            def plain(*given: Any, eps: Any = eps, casting: str = casting) -> tuple[torch.Tensor, ...]:
                weight = given[held[0]] if held else None
                return tuple(add_rms_norm.reference(given[a], given[b], weight, eps, casting))

            def native(*given: Any, eps: Any = eps, casting: str = casting) -> tuple[torch.Tensor, ...]:
                total = given[a] + given[b]
                weight = _weight(given[held[0]] if held else None, casting)
                return F.rms_norm(total, total.shape[-1:], weight, eps), total

            def kernel(*given: Any, eps: Any = eps, casting: str = casting) -> tuple[torch.Tensor, ...]:
                weight = given[held[0]] if held else None
                return add_rms_norm.add_rms_norm(given[a], given[b], weight, eps, casting)

            title = f"residual added, then RMSNorm, eps {eps:g}"
            named = "torch.nn.functional.rms_norm of the sum"
            yield Form("add_rms_norm", title, plain, (named, native), ("add_rms_norm", kernel))


def _weight(weight: torch.Tensor | None, casting: str) -> torch.Tensor | None:
    return 1.0 + weight if casting == "gemma" and weight is not None else weight


def _layer_norm_forms(region: Region) -> Iterator[Form]:
    from perfkit_kernels.layer_norm import layer_norm

    found = split(region, rows=1, weights=2)
    if found is None:
        return
    (x,), held = found
    for eps in epsilons(region)[1:]:
        for order in _orders(held):

            def native(*given: Any, eps: Any = eps, order: Any = order) -> tuple[torch.Tensor, ...]:
                weight, bias = _affine(given, order)
                return (F.layer_norm(given[x], given[x].shape[-1:], weight, bias, eps),)

            def kernel(*given: Any, eps: Any = eps, order: Any = order) -> tuple[torch.Tensor, ...]:
                return (layer_norm(given[x], *_affine(given, order), eps),)

            yield Form(
                "layer_norm", f"LayerNorm, eps {eps:g}", native, ("torch.nn.functional.layer_norm", native),
                ("layer_norm", kernel), called=_is_only(region, "layer_norm"),
            )  # fmt: skip


def _add_layer_forms(region: Region) -> Iterator[Form]:
    from perfkit_kernels.dropout_add_layer_norm import dropout_add_layer_norm, reference

    found, dropping = split(region, rows=2, weights=2), region.chance()
    if found is None or len(dropping) > 1:
        return
    (a, b), held = found
    p = chance_of(dropping[0]) if dropping else 0.0
    if dropping:
        (dropped,) = dropping[0].all_input_nodes
        if dropped not in {region.inputs[a], region.inputs[b]}:
            return
        a, b = (a, b) if dropped is region.inputs[a] else (b, a)
    there = {name_of(node) for node in region.nodes} <= {"dropout", "add", "layer_norm"}
    for eps in epsilons(region)[1:]:
        for order in _orders(held):

            def plain(*given: Any, eps: Any = eps, order: Any = order) -> tuple[torch.Tensor, ...]:
                return reference(given[a], given[b], *_affine(given, order), None, chance(p), eps)

            def kernel(*given: Any, eps: Any = eps, order: Any = order) -> tuple[torch.Tensor, ...]:
                return dropout_add_layer_norm(given[a], given[b], *_affine(given, order), None, chance(p), eps)

            first = f"elements dropped with probability {p:g}, residual added" if p else "residual added"
            yield Form(
                "dropout_add_layer_norm" if p else "add_layer_norm", f"{first}, then LayerNorm, eps {eps:g}", plain,
                ("torch.nn.functional.layer_norm of the sum", plain), ("dropout_add_layer_norm", kernel), called=there,
            )  # fmt: skip


def _group_forms(region: Region) -> Iterator[Form]:
    from perfkit_kernels.group_norm_silu import group_norm_silu, reference

    shape = region.output.meta["form"][0]
    forms = [node.meta["form"][0] for node in region.inputs]
    images = [at for at, form in enumerate(forms) if form == shape]
    held = [at for at, form in enumerate(forms) if form == shape[1:2]]
    if len(shape) < 3 or len(images) != 1 or len(held) != 2 or len(forms) != 3:  # noqa: PLR2004
        return
    (x,) = images
    numbers = {int(value) for value in region.constants() if value.is_integer() and value > 0}
    there = {name_of(node) for node in region.nodes} <= {"group_norm", "silu"}
    for groups in sorted(number for number in numbers if shape[1] % number == 0):
        for eps in epsilons(region)[1:]:
            for w, b in _orders(held):

                def plain(
                    *given: Any, eps: Any = eps, groups: int = groups, w: int = w, b: int = b
                ) -> tuple[torch.Tensor, ...]:
                    return (reference(given[x], groups, given[w], given[b], eps),)

                def kernel(
                    *given: Any, eps: Any = eps, groups: int = groups, w: int = w, b: int = b
                ) -> tuple[torch.Tensor, ...]:
                    return (group_norm_silu(given[x], groups, given[w], given[b], eps),)

                yield Form(
                    "group_norm_silu", f"GroupNorm of {groups} groups, eps {eps:g}, then SiLU", plain,
                    ("torch.nn.functional.group_norm, then silu", plain), ("group_norm_silu", kernel), HOSTILE,
                    called=there,
                )  # fmt: skip


def _orders(held: list[int]) -> list[list[int]]:
    """Return which may be the weight, and which the bias."""
    return [held] if len(held) < 2 else [held, held[::-1]]  # noqa: PLR2004


def _affine(given: Any, order: list[int]) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    weight, bias = [*[given[at] for at in order], None, None][:2]
    return weight, bias


def _is_only(region: Region, name: str) -> bool:
    return [name_of(node) for node in region.nodes] == [name]


HOSTILE: Final = (0.0, 1e4, float("nan"))
MEANS: Final = ("mean", "sum", "norm", "vector_norm", "rms_norm")
VARIANCES: Final = ("mean", "sum", "var", "std", "var_mean", "layer_norm")
PATTERNS: Final = (
    Pattern("add_rms_norm", MEANS, 2, _add_rms_forms, sums=True),
    Pattern("rms_norm", MEANS, 1, _rms_forms),
    Pattern("add_layer_norm", VARIANCES, 2, _add_layer_forms, sums=True, drops=True),
    Pattern("layer_norm", VARIANCES, 1, _layer_norm_forms),
    Pattern("group_norm_silu", ("group_norm", "mean", "var", "var_mean"), 2, _group_forms),
)
