"""Cross-entropy, however it is written, and together with the linear layer that makes its logits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import torch
import torch.nn.functional as F  # noqa: N812  as everybody does

from perfkit.fix.operations.form import Form, Pattern
from perfkit.fix.regions import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.fix.regions import Region

__all__ = ["PATTERNS"]

HOSTILE: Final = (0.0, 1e4, math.nan)
HOSTILE_TO_PRODUCTS: Final = (0.0, math.nan)
ENTROPIES: Final = ("cross_entropy", "nll_loss", "log_softmax", "logsumexp")
IGNORED: Final = -100
LARGEST_SMOOTHING: Final = 0.5


def _entropy_forms(region: Region) -> Iterator[Form]:
    from perfkit_kernels import cross_entropy

    for (logits,), target in _roles(region, floating=1):
        shape = region.inputs[logits].meta["form"][0]
        if math.prod(shape[:-1]) != math.prod(region.inputs[target].meta["form"][0]):
            continue
        for options in _options(region, shape[:-1]):

            def arranged(given: Any, x: int = logits, target: int = target) -> tuple[torch.Tensor, torch.Tensor]:
                return given[x], given[target].reshape(given[x].shape[:-1])

            def plain(*given: Any, options: Any = options) -> tuple[torch.Tensor, ...]:
                return (_shaped(region, given, cross_entropy.reference(*arranged(given), **options)),)

            def native(*given: Any, options: Any = options) -> tuple[torch.Tensor, ...]:
                rows, wanted = arranged(given)
                loss = F.cross_entropy(
                    rows.reshape(-1, rows.shape[-1]), wanted.reshape(-1),
                    **{name: value for name, value in options.items() if name != "z_loss"},
                )  # fmt: skip
                return (_shaped(region, given, loss),)

            def kernel(*given: Any, options: Any = options) -> tuple[torch.Tensor, ...]:
                return (_shaped(region, given, cross_entropy.cross_entropy(*arranged(given), **options)),)

            there = {name_of(node) for node in region.nodes} <= {"cross_entropy", "view", "reshape", "float", "to"}
            yield Form(
                "cross_entropy", f"cross-entropy{_said(options)}", plain,
                None if options["z_loss"] else ("torch.nn.functional.cross_entropy", native), ("cross_entropy", kernel),
                HOSTILE, called=there,
            )  # fmt: skip


def _linear_forms(region: Region) -> Iterator[Form]:
    from perfkit_kernels import linear_cross_entropy

    for (hidden, weight), target in _roles(region, floating=2):
        shape, matrix = (region.inputs[at].meta["form"][0] for at in (hidden, weight))
        rows = math.prod(shape[:-1]) == math.prod(region.inputs[target].meta["form"][0])
        if not rows or len(matrix) != 2 or shape[-1] not in matrix:  # noqa: PLR2004
            continue
        for transposed in (flag for flag in (False, True) if matrix[0 if flag else 1] == shape[-1]):
            for options in _options(region, shape[:-1]):

                def arranged(
                    given: Any, at: Any = (hidden, weight, target), transposed: Any = transposed
                ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
                    hidden, weight, target = (given[number] for number in at)
                    return hidden, weight.mT if transposed else weight, target.reshape(hidden.shape[:-1])

                def plain(*given: Any, options: Any = options) -> tuple[torch.Tensor, ...]:
                    loss = linear_cross_entropy.reference(*arranged(given), **options)
                    return (_shaped(region, given, loss),)

                def kernel(*given: Any, options: Any = options) -> tuple[torch.Tensor, ...]:
                    loss = linear_cross_entropy.linear_cross_entropy(*arranged(given), **options)
                    return (_shaped(region, given, loss),)

                there = {name_of(node) for node in region.nodes} & {"cross_entropy"}
                yield Form(
                    "linear_cross_entropy", f"linear without a bias, then cross-entropy{_said(options)}",
                    plain, ("torch.nn.functional.linear, then cross_entropy", plain),
                    ("linear_cross_entropy", kernel), HOSTILE_TO_PRODUCTS, products=True, called=bool(there),
                )  # fmt: skip


def _roles(region: Region, *, floating: int) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yield which inputs could be logits (or what they are the product of), and which the target."""
    forms = [node.meta["form"] for node in region.inputs]
    given = [at for at, node in enumerate(region.inputs) if node.meta.get("constant") is None]
    real = [at for at in given if forms[at][2].is_floating_point]
    whole = [at for at in given if forms[at][2] == torch.int64]
    if len(real) != floating or len(whole) != 1 or any(len(forms[at][0]) < 2 for at in real):  # noqa: PLR2004
        return
    yield tuple(real), whole[0]
    if floating > 1:
        yield tuple(real[::-1]), whole[0]


def _options(region: Region, rows: torch.Size) -> Iterator[dict[str, Any]]:
    """Yield keyword arguments of the kernels, as the constants allow."""
    numbers = region.constants()
    parts = sorted(value for value in numbers if 0 < value < LARGEST_SMOOTHING)
    ignored = dict.fromkeys([IGNORED, *sorted(int(value) for value in numbers if value.is_integer())])
    whole = math.prod(region.output.meta["form"][0])
    reductions = ("mean", "sum") if whole == 1 else ("none",)
    if whole not in {1, math.prod(rows)}:
        return
    simple = "cross_entropy" in region.names() or "nll_loss" in region.names()
    for reduction in reductions:
        for index in ignored if simple else [IGNORED]:
            for smoothing in (0.0, *parts):
                for z_loss in (0.0, *parts) if "logsumexp" in region.names() else (0.0,):
                    yield {
                        "ignore_index": index, "label_smoothing": smoothing, "z_loss": z_loss, "reduction": reduction
                    }  # fmt: skip


def _shaped(region: Region, given: Any, loss: torch.Tensor) -> torch.Tensor:
    """Give a loss the shape and dtype that it has there; in float64 it stays as it is."""
    _, _, dtype, _, _ = region.output.meta["form"]
    wide = any(value.dtype == torch.float64 for value in given)
    loss = loss if wide else loss.to(dtype)
    return loss if loss.dim() == len(region.output.meta["form"][0]) else loss.reshape(-1)


def _said(options: dict[str, Any]) -> str:
    usual = {"ignore_index": IGNORED, "label_smoothing": 0.0, "z_loss": 0.0, "reduction": "mean"}
    return "".join(f", {name} {value}" for name, value in options.items() if value != usual[name])


PATTERNS: Final = (
    Pattern("linear_cross_entropy", ENTROPIES, 2, _linear_forms),
    Pattern("cross_entropy", ENTROPIES, 1, _entropy_forms),
)
