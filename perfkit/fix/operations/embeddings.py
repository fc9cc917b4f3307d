"""Rows of a table, summed or averaged as soon as they are looked up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import torch
import torch.nn.functional as F  # noqa: N812  as everybody does

from perfkit.fix.operations.form import Form, Pattern
from perfkit.fix.regions import is_look_up, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.fix.regions import Region

__all__ = ["PATTERNS"]


def _forms(region: Region) -> Iterator[Form]:
    from perfkit_kernels.embedding_bag import embedding_bag, reference

    looked_up = [node for node in region.nodes if name_of(node) == "embedding" or is_look_up(node)]
    forms = [node.meta["form"] for node in region.inputs]
    if len(forms) != 2 or len(looked_up) != 1 or not _is_plain(looked_up[0]):  # noqa: PLR2004
        return
    table = next((at for at, form in enumerate(forms) if form[2].is_floating_point and len(form[0]) == 2), None)  # noqa: PLR2004
    if table is None or forms[1 - table][2] != torch.int64 or not forms[1 - table][0]:
        return
    length = forms[1 - table][0][-1]
    for mode, share in (("sum", 1.0), ("mean", 1.0 / max(length, 1))):

        def plain(*given: Any, share: float = share) -> tuple[torch.Tensor, ...]:
            total = reference(given[table], given[1 - table])
            return (total if share == 1.0 else total * share,)

        def native(*given: Any, mode: str = mode) -> tuple[torch.Tensor, ...]:
            indices = given[1 - table]
            bags = F.embedding_bag(indices.reshape(-1, indices.shape[-1]), given[table], mode=mode)
            return (bags.reshape(*indices.shape[:-1], bags.shape[-1]),)

        def kernel(*given: Any, share: float = share) -> tuple[torch.Tensor, ...]:
            total = embedding_bag(given[table], given[1 - table])
            return (total if share == 1.0 else total * share,)

        title = f"embedding, {'summed' if mode == 'sum' else 'averaged'} over {length:,}"
        yield Form(
            "embedding_bag", title, plain, ("torch.nn.functional.embedding_bag", native), ("embedding_bag", kernel),
            (0.0, math.nan),
        )  # fmt: skip


def _is_plain(node: Any) -> bool:
    """Whether nothing else is wanted of a look-up: no row without a gradient, no largest norm."""
    options = (*node.args[2:4], *(value for name, value in node.kwargs.items() if name not in {"norm_type", "weight"}))
    return is_look_up(node) or all(value is None or value is False for value in options)


PATTERNS: Final = (Pattern("embedding_bag", ("embedding", "getitem"), 2, _forms),)
