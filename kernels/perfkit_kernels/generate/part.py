"""Forward or backward of a region: its graph, its kernel, and how that is launched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from perfkit_kernels.dialect import cdiv
from perfkit_kernels.generate.axes import shape_of
from perfkit_kernels.generate.plan import plan
from perfkit_kernels.generate.source import kernel_source
from perfkit_kernels.generate.trace import bytes_of, output_of
from perfkit_kernels.rows import persistent_programs
from perfkit_kernels.spec import Compilation, pointer

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Part", "alike"]

VECTOR_BYTES = 16


def alike(tensor: torch.Tensor, strides: Sequence[int]) -> bool:
    """Whether a tensor has these strides, where they count."""
    pairs = zip(tensor.shape, tensor.stride(), strides, strict=True)
    return all(size == 1 or one == other for size, one, other in pairs)


class Part:
    """One kernel of a region, and what PyTorch does after it.

    Attributes:
        name: ``forward`` or ``backward``.
        graph: What it computes, of primitive operators.
        strides: Of the tensors that its kernel takes.
        inputs: Names of what it takes.
        results: Names of what its kernel leaves.
        kernel: The kernel, once it is run.
    """

    def __init__(
        self,
        name: str,
        graph: fx.Graph,
        strides: Sequence[tuple[int, ...]],
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> None:
        self.name, self.graph, self.strides, self.inputs = name, graph, tuple(strides), tuple(inputs)
        self.plan = plan(graph, strides)
        self.outputs: list[fx.Node] = output_of(graph)
        owners = dict(zip(self.outputs, outputs, strict=True))
        self.results: list[str] = []
        for result in self.plan.results:
            base = owners.get(result.node) or next(owners[node] for node in self.outputs if _made_of(node, result.node))
            self.results.append(base if base not in self.results else f"{base}_{len(self.results)}")
        self.kernel: Any = None
        empty = torch.nn.Module()
        self._plain = fx.GraphModule(empty, graph)
        self._late = None if self.plan.late is None else fx.GraphModule(empty, self.plan.late)
        given = [node for node in graph.nodes if node.op == "placeholder"]
        self._loaded = [place for place, node in enumerate(given) if node in self.plan.lies]
        stored = [result.term for result in self.plan.results if result.kind == "whole"]
        self._late_takes = [place for place, node in enumerate(given) if node not in stored]

    def text(self) -> str:
        """Write its kernel."""
        title = f"{self.name.capitalize()}: moves {self.traffic():,} bytes."
        return kernel_source(self.name, title, self.plan, self.inputs, self.results)

    def traffic(self) -> int:
        """Count the bytes that are read and written, each tensor once; terms that PyTorch sums are read again."""
        stored = [result for result in self.plan.results if result.kind == "whole"]
        again = [result for result in stored if result.node is not result.term]
        read = sum(bytes_of(node) for node in self.plan.lies if node.op == "placeholder")
        sums = sum(bytes_of(result.node) for result in self.plan.results if result.kind != "whole")
        return read + sums + sum(bytes_of(result.term) for result in [*stored, *again])

    def plain(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        """Compute it with PyTorch's operators, where the kernel does not fit."""
        return self._computed(*tensors)

    def _computed(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        return [value.clone(memory_format=torch.contiguous_format) for value in self._plain(*tensors)]

    def launch(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        """Run the kernel, and what comes after it."""
        given = [
            tensor.contiguous() if name.startswith("dy") else tensor
            for name, tensor in zip(self.inputs, tensors, strict=True)
        ]
        plan, device = self.plan, tensors[0].device
        if not self.results:  # sums of inputs, which PyTorch sums
            return self._computed(*tensors)
        if not all(map(alike, given, self.strides)):
            return self.plain(*tensors)
        tiles, blocks = cdiv(plan.height, plan.tile.rows), 1 if plan.reduces else cdiv(plan.width, plan.tile.block)
        programs = persistent_programs(device, tiles) if plan.sums else tiles
        sizes = {"vector": (programs, plan.width), "scalar": (programs * blocks,)}
        left = [
            torch.empty(sizes[result.kind], dtype=torch.float32, device=device)
            if result.kind != "whole"
            else torch.empty(shape_of(result.term), dtype=result.term.meta["val"].dtype, device=device)
            for result in plan.results
        ]
        counts = [programs] if plan.sums else []
        self.kernel[programs * blocks,](
            *(given[place] for place in self._loaded), *left, *counts, **self._constants(), num_warps=plan.tile.warps
        )
        for place, result in enumerate(plan.results):
            if result.kind != "whole":
                left[place] = left[place].sum(0).reshape(shape_of(result.node))
        if self._late is None:
            return left
        made: list[torch.Tensor] = self._late(*left, *(given[place] for place in self._late_takes))
        return [value.contiguous() for value in made]

    def _constants(self) -> dict[str, int]:
        return {"ROWS": self.plan.tile.rows, "BLOCK": self.plan.tile.block}

    def compilation(self) -> Compilation:
        """Say how to compile the kernel ahead of time."""
        given = [node for node in self.graph.nodes if node.op == "placeholder"]
        nodes = [(self.inputs[place], given[place].meta["val"].dtype) for place in self._loaded]
        nodes += [
            (name, result.term.meta["val"].dtype if result.kind == "whole" else torch.float32)
            for name, result in zip(self.results, self.plan.results, strict=True)
        ]
        types = {f"{name}_ptr": _pointer(dtype) for name, dtype in nodes}
        full = [node for node in self.plan.lies if len(self.plan.axes.varies[node]) == len(self.plan.axes.sizes)]
        vectorised = bool(full) and all(
            self.plan.lies[node].columns[-1] == 1
            and self.plan.width * node.meta["val"].dtype.itemsize % VECTOR_BYTES == 0
            for node in full
        )
        more = {"programs": "i32"} if self.plan.sums else {}
        return Compilation(self.name, self.kernel, types | more, self._constants(), self.plan.tile.warps, vectorised)


def _pointer(dtype: torch.dtype) -> str:
    name = str(dtype).removeprefix("torch.")
    return {"bool": "*i1", "int32": "*i32", "int64": "*i64"}.get(name) or pointer(name)


def _made_of(node: fx.Node, source: fx.Node) -> bool:
    """Whether a node takes another, by whatever way."""
    return node is source or any(_made_of(one, source) for one in node.all_input_nodes)
