"""Parts of a graph that could be one operation: cut out, made callable, and made exact.

A region is told by what it does to tensors, not by how it is spelled. It ends in one node; going backwards from there,
the latest node among its inputs is taken in, again and again, as long as that is arithmetic: each step of the way gives
another region. Which operation one computes is for `patterns` to find out, by trying.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch import fx

from perfkit.fix.frames import has_hooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from perfkit.fix.frames import Frame

__all__ = ["Region", "callable_of", "inlined", "name_of", "region_graph", "regions", "widened"]

MOST_NODES: Final = 30
MOST_INPUTS: Final = 5
HALF_OR_SINGLE: Final = (torch.float16, torch.bfloat16, torch.float32)
ARITHMETIC: Final = frozenset(
    {
        "add", "sub", "mul", "div", "rdiv", "rsub", "radd", "rmul", "truediv", "rtruediv", "true_divide", "neg", "pow",
        "rpow", "square", "mean", "sum", "sqrt", "rsqrt", "reciprocal", "exp", "tanh", "erf", "sigmoid", "silu", "gelu",
        "to", "float", "half", "bfloat16", "double", "type", "type_as", "norm", "vector_norm", "var", "std", "var_mean",
        "rms_norm", "layer_norm", "softmax", "matmul", "bmm", "baddbmm", "masked_fill", "where", "transpose", "mT", "T",
        "permute", "swapaxes", "unsqueeze", "multiply", "divide", "subtract", "einsum", "rmatmul", "negative",
        "contiguous", "expand", "_pick", "ndtr",
    }
)  # fmt: skip
"""Names of what a region may be made of. A mask is an input: comparisons are not among them."""


class Region(NamedTuple):
    """Nodes that compute outputs from inputs.

    Attributes:
        nodes: In the order of the graph.
        inputs: What they take from outside, likewise.
        output: The last of them.
        outside: Those of them, but the last, that something else uses, too.
    """

    nodes: tuple[fx.Node, ...]
    inputs: tuple[fx.Node, ...]
    output: fx.Node
    outside: tuple[fx.Node, ...]

    def names(self) -> set[str]:
        """Return the names of its functions."""
        return {name_of(node) for node in self.nodes}

    def constants(self) -> set[float]:
        """Return the numbers that stand in it."""
        found: set[float] = set()

        def collect(value: Any) -> Any:
            if type(value) in {int, float}:
                found.add(float(value))
            return value

        for node in self.nodes:
            fx.node.map_aggregate((node.args, node.kwargs), collect)
        return found


def name_of(node: fx.Node) -> str:
    """Return what a function is called, whether it is a method, an operator or a function."""
    if node.target is getattr:
        return str(node.args[1])
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    if node.op == "call_module":
        name = f"module {name}"
    return name.strip("_") if name != "_pick" else name


def is_arithmetic(node: fx.Node) -> bool:
    """Whether a node may be in a region."""
    if node.op not in {"call_function", "call_method"} or ("form" not in node.meta and name_of(node) != "var_mean"):
        return False
    name = name_of(node)
    if name == "dropout":
        training = node.kwargs.get("training", node.args[2] if len(node.args) > 2 else True)  # noqa: PLR2004
        return not training
    return name in ARITHMETIC


def regions(graph: fx.Graph, most: int = MOST_NODES) -> Iterator[Region]:
    """Yield regions, those that end last first, and of those the smaller first."""
    order = {node: number for number, node in enumerate(graph.nodes)}
    for output in reversed(graph.nodes):
        if not is_arithmetic(output) or "form" not in output.meta:
            continue
        taken = {output}
        inputs = set(output.all_input_nodes)
        while len(taken) <= most:
            if 0 < len(inputs) <= MOST_INPUTS and all("form" in node.meta for node in inputs):
                yield _region(taken, inputs, output, order)
            expandable = [node for node in inputs if is_arithmetic(node)]
            if not expandable:
                break
            latest = max(expandable, key=order.__getitem__)
            inputs.remove(latest)
            taken.add(latest)
            inputs.update(node for node in latest.all_input_nodes if node not in taken)


def _region(taken: set[fx.Node], inputs: set[fx.Node], output: fx.Node, order: dict[fx.Node, int]) -> Region:
    outside = tuple(node for node in taken if node is not output and any(user not in taken for user in node.users))
    at = order.__getitem__
    return Region(tuple(sorted(taken, key=at)), tuple(sorted(inputs, key=at)), output, tuple(sorted(outside, key=at)))


def inlined(frame: Frame) -> fx.Graph:
    """Return the graph of a frame, with small modules that are nothing but arithmetic taken in.

    Their nodes have the path of the module in ``meta["inlined"]``: a replacement steps aside if it gets hooks.
    """
    graph = fx.Graph()
    made: dict[fx.Node, Any] = {}
    for node in frame.graph.nodes:
        inner: Frame | None = node.meta.get("frame")
        if node.op == "call_module" and inner is not None and _takes_in(inner):
            made[node] = _expand(graph, node, inner, made)
        else:
            made[node] = graph.node_copy(node, made.__getitem__)
    return graph


def _takes_in(inner: Frame) -> bool:
    nodes = [node for node in inner.graph.nodes if node.op not in {"placeholder", "get_attr", "output"}]
    return (
        not inner.obstacle
        and 0 < len(nodes) <= MOST_NODES
        and all(map(is_arithmetic, nodes))
        and not has_hooks(inner.owner)
        and not isinstance(_output_of(inner.graph), (tuple, list, dict))
    )


def _output_of(graph: fx.Graph) -> Any:
    return next(node for node in reversed(graph.nodes) if node.op == "output").args[0]


def _expand(graph: fx.Graph, call: fx.Node, inner: Frame, made: dict[fx.Node, Any]) -> Any:
    """Copy the nodes of a module's graph to where it is called."""
    given: list[fx.Node] = []
    fx.node.map_arg((call.args, call.kwargs), lambda node: given.append(made[node]))
    local: dict[fx.Node, Any] = {}
    held = iter(given)
    for node in inner.graph.nodes:
        if node.op == "placeholder":
            local[node] = next(held)
        elif node.op == "output":
            return local[node.args[0]]
        else:
            copy = graph.node_copy(node, local.__getitem__)
            if node.op == "get_attr":
                copy.target = f"{call.target}.{node.target}"
            copy.meta["inlined"] = f"{call.target}"
            local[node] = copy
    return None


_names = itertools.count()


def callable_of(graph: fx.Graph, name: str = "region") -> Callable[..., Any]:
    """Compile a graph to a function, whose first argument is the module that holds what it names."""
    code = graph.python_code("self")
    space = dict(code.globals)
    file = f"<perfkit {name} {next(_names)}>"
    exec(compile(code.src, file, "exec"), space)
    function: Callable[..., Any] = space["forward"]
    return function


def region_graph(inputs: Iterable[fx.Node], nodes: Iterable[fx.Node], outputs: tuple[fx.Node, ...]) -> fx.Graph:
    """Copy nodes into a graph of their own."""
    graph = fx.Graph()
    made: dict[fx.Node, fx.Node] = {}
    for number, node in enumerate(inputs):
        made[node] = graph.placeholder(f"input_{number}")
    for node in nodes:
        made[node] = graph.node_copy(node, made.__getitem__)
    graph.output(tuple(made[node] for node in outputs))
    return graph


def widened(graph: fx.Graph) -> fx.Graph:
    """Return the same in float64, whatever it casts to."""
    wide = fx.Graph()
    made: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        copy = made[node] = wide.node_copy(node, made.__getitem__)
        if copy.op == "call_method" and copy.target in {"float", "half", "bfloat16"}:
            copy.target = "double"
        copy.args = fx.node.map_aggregate(copy.args, _wide)
        copy.kwargs = fx.node.map_aggregate(copy.kwargs, _wide)
    return wide


def _wide(value: Any) -> Any:
    return torch.float64 if isinstance(value, torch.dtype) and value in HALF_OR_SINGLE else value
