"""A region as two graphs of primitive operators: what it computes, and its gradients, with what the first keeps.

Both come out of one trace of the function and its backward pass, decomposed until nothing but `torch.ops.prims` is
left. There every conversion is an operator of its own, so what is made of the graphs rounds where eager PyTorch does.
What is kept for the backward pass is the smallest cut, in bytes to be written and read again, between the inputs and
what the gradients take: whether to save or to recompute is decided by it (see `torch._functorch.partitioners`).
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch import fx

from perfkit_kernels.generate.refusal import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Traced", "bytes_of", "cut", "output_of", "trace"]

prims: Final = torch.ops.prims
aten: Final = torch.ops.aten
DTYPES: Final = frozenset({torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.int32, torch.int64})


class Traced(NamedTuple):
    """What a region computes.

    Attributes:
        forward: From the inputs to the outputs, followed by what is kept beside them.
        outputs: How many of them are outputs.
        single: Whether the function returns one tensor, not a tuple.
        backward: From the slopes of `sloped` and then `kept` to what the gradients are made of; None for nothing.
        sloped: Numbers of the outputs that have a gradient.
        kept: What the backward takes: numbers of inputs, or, beyond the last input, of what the forward gives.
        gradients: For each input that has one the number of its gradient, among slopes and what `backward` gives.
        eager_bytes: What its operators move in eager PyTorch, forward, one by one.
    """

    forward: fx.Graph
    outputs: int
    single: bool
    backward: fx.Graph | None
    sloped: tuple[int, ...]
    kept: tuple[int, ...]
    gradients: dict[int, int]
    eager_bytes: int


def trace(function: Callable[..., Any], inputs: Sequence[torch.Tensor]) -> Traced:
    """Trace a function of tensors.

    Raises:
        RefusedError: It does something that no kernel is generated for.
    """
    if any(tensor.dtype not in DTYPES for tensor in inputs):
        unknown = next(tensor.dtype for tensor in inputs if tensor.dtype not in DTYPES)
        raise RefusedError("dtype", f"takes tensors of {unknown}")
    if len({tensor.device for tensor in inputs}) != 1:
        raise RefusedError("device", "takes tensors of several devices" if inputs else "takes no tensors")
    if not all(tensor.numel() for tensor in inputs):
        raise RefusedError("shape", "takes a tensor without elements")
    given = [tensor.detach().requires_grad_(tensor.requires_grad) for tensor in inputs]
    eager = _made(function, given, {})
    _check(eager)
    results = output_of(eager)
    single = not isinstance(results, (tuple, list))
    results = [results] if single else list(results)
    forms = [node.meta["val"] for node in results]
    slopes = [torch.empty(tuple(form.shape), dtype=form.dtype, device=inputs[0].device) for form in forms]
    sloped: list[int] = []
    wanted = [index for index, tensor in enumerate(given) if tensor.requires_grad]
    found: dict[int, int] = {}

    def joint(*tensors: torch.Tensor) -> list[torch.Tensor]:
        values, slopes = tensors[: len(given)], tensors[len(given) :]
        outputs = function(*values)
        outputs = [outputs] if single else list(outputs)
        sloped[:] = [index for index, output in enumerate(outputs) if output.requires_grad]
        gradients: Iterable[torch.Tensor | None] = [None] * len(wanted)
        if sloped:
            with_slope, chosen = [outputs[index] for index in sloped], [slopes[index] for index in sloped]
            sources = [values[index] for index in wanted]
            gradients = torch.autograd.grad(with_slope, sources, chosen, allow_unused=True)
        all_results = [*outputs]
        found.clear()
        for index, gradient in zip(wanted, gradients, strict=True):
            if gradient is not None:
                found[index] = len(all_results)
                all_results.append(gradient)
        return all_results

    from torch._decomp import decomposition_table

    graph = _made(joint, [*given, *slopes], decomposition_table | OWN)
    _tidy(graph)
    return _split(graph, len(given), len(results), single, found, sloped, _moved(eager))


def _made(function: Callable[..., Any], inputs: Sequence[torch.Tensor], table: Any) -> fx.Graph:
    """Trace on tensors that have a shape and no values."""
    from torch.fx.experimental.proxy_tensor import make_fx

    try:
        with torch.enable_grad():
            return make_fx(function, decomposition_table=table, tracing_mode="fake")(*inputs).graph
    except RefusedError:
        raise
    except Exception as error:
        kind = type(error).__name__
        first = (str(error).strip().splitlines() or [""])[0][:120]
        if "DataDependent" in kind or "DynamicOutput" in kind or "item()" in str(error):
            raise RefusedError("data-dependent", f"what it does depends on values of tensors: {first}") from error
        raise RefusedError("trace", f"cannot be traced: {kind}: {first}") from error


def output_of(graph: fx.Graph) -> Any:
    """Return what a graph returns."""
    return next(node for node in reversed(graph.nodes) if node.op == "output").args[0]


def _check(graph: fx.Graph) -> None:
    """Refuse what shows in the operators of eager PyTorch."""
    for node in graph.nodes:
        if node.op == "get_attr":
            raise RefusedError("trace", "holds a tensor that is not among its inputs")
        if node.op != "call_function" or node.target is operator.getitem:
            continue
        tags, schema = node.target.tags, node.target._schema  # noqa: SLF001  there is no other way to the schema
        if torch.Tag.nondeterministic_seeded in tags:
            raise RefusedError("random", f"{node.target} draws random numbers")
        if torch.Tag.data_dependent_output in tags or torch.Tag.dynamic_output_shape in tags:
            raise RefusedError("data-dependent", f"the shape of {node.target} depends on values")
        if schema.is_mutable and _root(node.args[0]).op == "placeholder":
            raise RefusedError("mutation", f"{node.target} writes into an input")
    outputs = output_of(graph)
    outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
    if not outputs or not all(isinstance(node, fx.Node) for node in outputs):
        raise RefusedError("trace", "does not return tensors")
    if any(_root(node).op == "placeholder" for node in outputs):
        raise RefusedError("alias", "an output is an input, or a view of one")


def _root(node: fx.Node) -> fx.Node:
    """Return what a node is a view of."""
    while node.op == "call_function" and node.all_input_nodes and isinstance(node.target, torch._ops.OpOverload):  # noqa: SLF001
        if node.target.is_view is False:
            break
        node = node.all_input_nodes[0]
    return node


def _moved(graph: fx.Graph) -> int:
    """Count the bytes that operators read and write, one by one."""
    calls = [node for node in graph.nodes if node.op == "call_function" and _root(node) is node]
    return sum(bytes_of(one) for node in calls for one in (node, *node.all_input_nodes))


def bytes_of(node: fx.Node) -> int:
    """Count the bytes of a tensor."""
    value = node.meta.get("val")
    return math.prod(value.shape) * value.dtype.itemsize if isinstance(value, torch.Tensor) else 0


# -------------------------------------------------------------------------------------------------- decompositions


def _var(x: torch.Tensor, dims: Sequence[int] | None = None, correction: float = 1.0) -> torch.Tensor:
    """Take the mean off first: two sums over the same dimensions."""
    dims = list(range(x.dim())) if dims is None else list(dims)
    count = math.prod(x.shape[index] for index in dims)
    mean = x.sum(dims, keepdim=True) / count
    return (x - mean).square().sum(dims) / float(max(0.0, count - correction))


OWN: Final = {prims.var.default: _var}


# ---------------------------------------------------------------------------------------------------------- tidying

COPIES: Final = frozenset({prims.clone.default, prims.view_of.default, aten.alias.default, aten.detach.default})


def _tidy(graph: fx.Graph) -> None:
    """Leave out copies and what is computed twice; put the new value where a decomposition writes into its own."""
    known: dict[Any, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        if node.target in COPIES:
            node.replace_all_uses_with(node.all_input_nodes[0])
            continue
        if node.target in {aten.copy_.default, prims.copy_to.default}:
            old, new = node.all_input_nodes
            if _root(old).op == "placeholder" or _root(old) is not old:
                raise RefusedError("mutation", "writes into a view")
            if new.meta["val"].dtype != old.meta["val"].dtype or new.meta["val"].shape != old.meta["val"].shape:
                raise RefusedError("mutation", "writes into a tensor of another dtype or shape")
            node.replace_all_uses_with(new)
            later = {user for user in old.users if user is not node and node < user}
            old.replace_all_uses_with(new, delete_user_cb=later.__contains__)
            graph.erase_node(node)
            continue
        if node.target._schema.is_mutable:  # noqa: SLF001
            raise RefusedError("mutation", f"{node.target} writes into a tensor")
        key = str((node.target, node.args, node.kwargs))
        first = known.setdefault(key, node)
        if first is not node:
            node.replace_all_uses_with(first)
    graph.eliminate_dead_code()


# --------------------------------------------------------------------------------------------------------- splitting


def cut(inputs: Sequence[fx.Node], outputs: Sequence[fx.Node]) -> fx.Graph:
    """Copy what it takes to compute some nodes from others into a graph of its own."""
    graph = fx.Graph()
    made: dict[fx.Node, fx.Node] = {}
    for node in inputs:
        made[node] = graph.placeholder(node.name)
        made[node].meta["val"] = node.meta["val"]
    needed, left = set(inputs), [*outputs]
    while left:
        node = left.pop()
        if node not in needed:
            needed.add(node)
            left.extend(node.all_input_nodes)
    for node in outputs[0].graph.nodes if outputs else ():
        if node in needed and node not in made:
            made[node] = graph.node_copy(node, made.__getitem__)
    graph.output([made[node] for node in outputs])
    return graph


def _split(
    graph: fx.Graph, inputs: int, outputs: int, single: bool, wanted: dict[int, int], sloped: Sequence[int], eager: int
) -> Traced:
    """Split a graph with its gradients into a forward and a backward."""
    given = [node for node in graph.nodes if node.op == "placeholder"]
    taken, slopes = given[:inputs], [given[inputs + index] for index in sloped]
    results: list[fx.Node] = list(output_of(graph))
    made = results[:outputs]
    if any(node in given for node in made) or len(set(made)) < len(made):
        raise RefusedError("alias", "an output is an input, or another output")
    gradients = {index: results[number] for index, number in wanted.items()}
    own = list(dict.fromkeys(node for node in gradients.values() if node not in slopes))
    if any(node in given for node in own):
        raise RefusedError("alias", "a gradient is an input")
    kept = _kept(graph, taken, slopes, made, own)
    beside = [node for node in kept if node not in taken and node not in made]
    forward = cut(taken, [*made, *beside])
    places = {node: number for number, node in enumerate([*taken, *made, *beside])}
    sources = {node: number for number, node in enumerate([*slopes, *own])}
    return Traced(
        forward, outputs, single, cut([*slopes, *kept], own) if own else None, tuple(sloped),
        tuple(places[node] for node in kept), {index: sources[node] for index, node in gradients.items()}, eager,
    )  # fmt: skip


def _kept(
    graph: fx.Graph, taken: list[fx.Node], slopes: list[fx.Node], made: list[fx.Node], gradients: list[fx.Node]
) -> list[fx.Node]:
    """Choose what the backward takes of the forward: the cut of the fewest bytes, read, and written if need be.

    Where an output is as good as an input it is kept: what follows the region often keeps it, too.
    """
    import networkx

    after: set[fx.Node] = set()
    for node in graph.nodes:
        if node in slopes or any(source in after for source in node.all_input_nodes):
            after.add(node)
    after -= {node for node in after if node.op == "output"}
    needed = {source for node in after for source in node.all_input_nodes if source not in after}
    needed |= {node for node in gradients if node not in after}
    network = networkx.DiGraph()
    network.add_nodes_from(("inputs", "gradients"))
    for node in graph.nodes:
        if node in after or node.op == "output":
            continue
        size = 2 * bytes_of(node)
        cost = size - 1 if node in made else size if node in taken else 2 * size
        network.add_edge((node, "in"), (node, "out"), capacity=max(cost, 1))
        for source in node.all_input_nodes:
            network.add_edge((source, "out"), (node, "in"))
        if node in taken:
            network.add_edge("inputs", (node, "in"))
        if node in needed:
            network.add_edge((node, "out"), "gradients")
    _, (near, _) = networkx.minimum_cut(network, "inputs", "gradients")
    return [node for node in graph.nodes if (node, "in") in near and (node, "out") not in near]
