"""Parts of a graph that could be one operation: cut out, made callable, and made exact.

A region is told by what it does to tensors, not by how it is spelled. It ends in one node; going backwards from there,
the latest node among its inputs is taken in, again and again, as long as that is arithmetic: each step of the way gives
another region. There are a few ways to go: `WAYS`. Which operation a region computes is for `patterns` to find out, by
trying.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch import fx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = [
    "CASTS",
    "LAYOUT",
    "Region",
    "callable_of",
    "chance_of",
    "is_arithmetic",
    "name_of",
    "region_graph",
    "region_of",
    "regions",
    "widened",
]

MOST_NODES: Final = 40
MOST_INPUTS: Final = 5
HALF_OR_SINGLE: Final = (torch.float16, torch.bfloat16, torch.float32)
LAYOUT: Final = frozenset(
    {
        "transpose", "mT", "T", "t", "permute", "swapaxes", "unsqueeze", "squeeze", "contiguous", "expand", "expand_as",
        "_pick", "getitem", "reshape", "view", "view_as", "flatten", "unflatten", "movedim", "clone", "repeat",
        "repeat_interleave", "chunk", "split", "unbind", "narrow",
    }
)  # fmt: skip
"""Functions that move elements about."""
CASTS: Final = frozenset({"to", "float", "half", "bfloat16", "double", "type", "type_as"})
ARITHMETIC: Final = LAYOUT | CASTS | frozenset(
    {
        "add", "sub", "mul", "div", "rdiv", "rsub", "radd", "rmul", "truediv", "rtruediv", "true_divide", "neg", "pow",
        "rpow", "square", "mean", "sum", "sqrt", "rsqrt", "reciprocal", "exp", "tanh", "erf", "sigmoid", "silu", "gelu",
        "norm", "vector_norm", "var", "std", "var_mean", "rms_norm", "layer_norm", "group_norm", "softmax", "matmul",
        "bmm", "baddbmm", "masked_fill", "where", "multiply", "divide", "subtract", "einsum", "rmatmul", "negative",
        "ndtr", "cat", "concat", "stack", "cross_entropy", "nll_loss", "log_softmax", "logsumexp", "gather", "log",
        "scaled_dot_product_attention", "dropout", "embedding", "view_as_complex", "view_as_real", "empty_like",
        "zeros_like", "on_a_copy", "linear", "tensor",
    }
)  # fmt: skip
"""Names of what a region may be made of. A mask is an input: comparisons are not among them."""
PRODUCTS: Final = frozenset(
    {"matmul", "bmm", "baddbmm", "einsum", "rmatmul", "scaled_dot_product_attention", "softmax"}
)
NO_END: Final = (LAYOUT - {"reshape", "view", "flatten", "view_as", "squeeze", "_pick"}) | {"dropout"}
"""What moves or drops elements ends no region, but where an operation is written with a view at its end."""


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

    def chance(self) -> list[fx.Node]:
        """Return its nodes that drop elements at random."""
        return [node for node in self.nodes if chance_of(node)]

    def constants(self) -> set[float]:
        """Return the numbers that stand in it."""
        found: set[float] = set()

        def collect(value: Any) -> Any:
            if type(value) in {int, float} and math.isfinite(value):
                found.add(float(value))
            return value

        for node in self.nodes:
            fx.node.map_aggregate((node.args, node.kwargs), collect)
        return found


def name_of(node: fx.Node) -> str:
    """Return what a function is called, whether it is a method, an operator or a function."""
    known: str | None = node.meta.get("name")
    if known is None:
        known = node.meta["name"] = _named(node)
    return known


def _named(node: fx.Node) -> str:
    if node.target is getattr:
        return str(node.args[1])
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    if node.op == "call_module":
        name = f"module {name}"
    return name.strip("_") if name != "_pick" else name


def is_arithmetic(node: fx.Node) -> bool:
    """Whether a node may be in a region."""
    if node.op not in {"call_function", "call_method"}:
        return False
    name = name_of(node)
    return name in ARITHMETIC and ("form" in node.meta or name in {"var_mean", "chunk", "split", "unbind"})


def is_look_up(node: fx.Node) -> bool:
    """Whether a node takes rows of a table by a tensor of indices."""
    return name_of(node) == "getitem" and isinstance(node.args[1], fx.Node)


def chance_of(node: fx.Node) -> float:
    """Return the probability with which a node drops elements."""
    if name_of(node) == "scaled_dot_product_attention":
        return float(node.kwargs.get("dropout_p", node.args[4] if len(node.args) > 4 else 0.0))  # noqa: PLR2004
    if name_of(node) != "dropout":
        return 0.0
    given = dict(zip(("input", "p", "training"), node.args, strict=False)) | dict(node.kwargs)
    training = given.get("training", given.get("train", True))
    return float(given.get("p", 0.5)) if training else 0.0


def _floating(node: fx.Node) -> bool:
    return "form" not in node.meta or node.meta["form"][2].is_floating_point or node.meta["form"][2].is_complex


def _leads_to_products(node: fx.Node, known: dict[fx.Node, bool]) -> bool:
    """Whether a matrix product or a softmax is before a node, with arithmetic between."""
    if node not in known:
        known[node] = is_arithmetic(node) and (
            name_of(node) in PRODUCTS or any(_leads_to_products(before, known) for before in node.all_input_nodes)
        )
    return known[node]


class Way(NamedTuple):
    """A way to go backwards.

    Attributes:
        names: Functions one of which has to be on it.
        takes: Whether a node is taken in, given what was found out about others.
    """

    names: frozenset[str]
    takes: Callable[[fx.Node, dict[fx.Node, bool]], bool]


WAYS: Final = (
    Way(frozenset(), lambda node, _: is_arithmetic(node) and name_of(node) != "linear"),
    Way(  # not into how targets, indices and masks are made
        frozenset({"cross_entropy", "nll_loss", "log_softmax", "logsumexp", "softmax", "gelu", "tanh", "erf"}),
        lambda node, _: is_arithmetic(node) and _floating(node),
    ),
    Way(  # nor into how masks that are added are
        frozenset({"softmax", "scaled_dot_product_attention"}),
        lambda node, known: _leads_to_products(node, known) or (is_arithmetic(node) and name_of(node) in LAYOUT),
    ),
)


def regions(graph: fx.Graph, most: int = MOST_NODES) -> Iterator[Region]:
    """Yield regions, those that end last first."""
    order = {node: number for number, node in enumerate(graph.nodes)}
    known: dict[fx.Node, bool] = {}
    for output in reversed(graph.nodes):
        if not is_arithmetic(output) or "form" not in output.meta or name_of(output) in NO_END:
            continue
        seen: set[frozenset[fx.Node]] = set()
        names: set[str] = set()
        for way in WAYS:
            if way.names and not way.names & names:
                continue
            for taken, inputs, latest in _going(output, way, known, order, most):
                names.add(name_of(latest))
                usable = 0 < len(inputs) <= MOST_INPUTS and all("form" in node.meta for node in inputs)
                if usable and frozenset(taken) not in seen:
                    seen.add(frozenset(taken))
                    yield region_of(taken, inputs, output, order)


def _going(
    output: fx.Node, way: Way, known: dict[fx.Node, bool], order: dict[fx.Node, int], most: int
) -> Iterator[tuple[set[fx.Node], set[fx.Node], fx.Node]]:
    """Yield what is taken in, what goes in there, and what was taken in last, step by step."""
    taken, inputs, latest = {output}, set(output.all_input_nodes), output
    while len(taken) <= most:
        yield taken, inputs, latest
        expandable = [node for node in inputs if "constant" not in node.meta and way.takes(node, known)]
        if not expandable:
            return
        latest = max(expandable, key=order.__getitem__)
        inputs.remove(latest)
        taken.add(latest)
        inputs.update(node for node in latest.all_input_nodes if node not in taken)


def region_of(taken: set[fx.Node], inputs: set[fx.Node], output: fx.Node, order: Mapping[fx.Node, float]) -> Region:
    """Return nodes as a region, in the order of their graph."""
    outside = tuple(node for node in taken if node is not output and any(user not in taken for user in node.users))
    at = order.__getitem__
    return Region(tuple(sorted(taken, key=at)), tuple(sorted(inputs, key=at)), output, tuple(sorted(outside, key=at)))


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
