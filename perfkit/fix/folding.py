"""Batch normalisation after a convolution, where neither trains: one convolution with other weights.

((W * x + b) - m) / sqrt(v + eps) * g + h  =  (W s) * x + (b - m) s + h,    s = g / sqrt(v + eps)
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from perfkit.fix.frames import has_hooks
from perfkit.fix.patterns import Form, Match
from perfkit.fix.regions import Region

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import fx

__all__ = ["foldable"]

PAIRS: Final = ((nn.Conv1d, nn.BatchNorm1d), (nn.Conv2d, nn.BatchNorm2d), (nn.Conv3d, nn.BatchNorm3d))


def foldable(graph: fx.Graph, owner: nn.Module) -> Iterator[Match]:
    """Yield the batch norms of a graph that can be folded into the convolution before them.

    Only exact classes: what else a subclass does, nobody knows.
    """
    for node in graph.nodes:
        before: Any = node.args[0] if node.op == "call_module" and node.args else None
        if getattr(before, "op", "") != "call_module" or len(before.users) != 1 or len(before.args) != 1:
            continue
        convolution, norm = owner.get_submodule(before.target), owner.get_submodule(node.target)
        if (
            (type(convolution), type(norm)) in PAIRS
            and _still(convolution)
            and _still(norm)
            and norm.track_running_stats
        ):
            region = Region((before, node), (before.args[0],), node, ())
            yield Match(region, _form(convolution, norm), (node,), modules=(convolution, norm))


def _still(module: nn.Module) -> bool:
    return not module.training and not has_hooks(module) and "forward" not in vars(module)


def _form(convolution: nn.Module, norm: nn.Module) -> Form:
    folded = fuse_conv_bn_eval(convolution, norm).requires_grad_(requires_grad=False)
    wide: list[nn.Module] = []

    def reference(*given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if given[0].dtype != torch.float64:
            return (norm(convolution(given[0])),)
        if not wide:
            wide.extend(copy.deepcopy(module).double() for module in (convolution, norm))
        return (wide[1](wide[0](given[0])),)

    def native(*given: Any) -> tuple[torch.Tensor, ...]:
        return (folded(*given),)

    title = "batch norm after a convolution"
    return Form("conv_batch_norm", title, reference, ("weights folded into the convolution", native))
