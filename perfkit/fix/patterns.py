"""Which operation a region computes, found out by trying: inputs at random, small, large and zero, in float64 first.

In float64 two ways of writing the same function agree to some ten digits, and two functions that differ in where an
epsilon stands do not. Castings show in half precision only, where they are told apart by which of them errs least from
what the region gives. Gradients have to agree as well: a region that detaches something is another function.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  as everybody does

from perfkit.fix.regions import callable_of, region_graph, regions, widened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import fx

    from perfkit.fix.regions import Region

__all__ = ["KINDS", "Form", "Match", "found_in", "match"]

SCALES: Final = (1.0, 1e-3, 30.0)
"""Of what size the probes are: at the second an epsilon of 1e-6 is what the answer depends on."""
LARGEST_OF_SCORES: Final = 3.0
"""With larger ones a softmax is one or zero, and its gradient nothing but rounding."""
CLOSE: Final = 1e-9
LARGEST_EPS: Final = 0.1
HOSTILE_TO_ACTIVATIONS: Final = (0.0, 1e4, -1e4, math.nan)
"""Without infinity, of which PyTorch's own GELU makes one thing on a CPU and another on a GPU."""
HOSTILE_TO_ATTENTION: Final = (0.0, 100.0, math.nan)
"""Of larger ones, gradients are differences of terms so large that nothing of them is left, whoever sums."""


class Form(NamedTuple):
    """One exact form of an operation, to be tried.

    Attributes:
        kind: What it is.
        title: The same with its numbers, for people.
        reference: Computes all outputs, given the region's inputs in its order.
        native: What PyTorch has for it: a name and a function like the reference; None for nothing.
        kernel: What `perfkit_kernels` has: the name of a SPEC, and what makes the region's inputs its arguments.
        hostile: Values that an implementation has to treat as what is there does, whole rows of them.
        products: Whether its gradients are sums of products of all of the inputs, as those of attention are.
    """

    kind: str
    title: str
    reference: Callable[..., tuple[torch.Tensor, ...]]
    native: tuple[str, Callable[..., tuple[torch.Tensor, ...]]] | None = None
    kernel: tuple[str, Callable[..., tuple[torch.Tensor, ...]]] | None = None
    hostile: tuple[float, ...] = (0.0, 1e4, math.nan, math.inf)
    products: bool = False


class Match(NamedTuple):
    """A region, and what it computes.

    Attributes:
        region: The region.
        form: What it computes.
        outputs: Which of its nodes are wanted, its last one first.
        modules: Modules whose parameters the replacement has a copy of.
    """

    region: Region
    form: Form
    outputs: tuple[fx.Node, ...]
    modules: tuple[torch.nn.Module, ...] = ()


def match(region: Region) -> Match | None:
    """Return what a region computes, or None if it is nothing that is known."""
    names = region.names()
    for kind, (needed, least, forms) in KINDS.items():
        if len(region.nodes) < least or not any(name in names for name in needed):
            continue
        outputs = _outputs(region, kind)
        if outputs is None:
            continue
        found = [form for form in forms(region) if _computes(region, outputs, form)]
        if found:
            return Match(region, _nearest(region, outputs, found), outputs)
    return None


def _match_once(region: Region, known: dict[str, Match | None]) -> Match | None:
    """Return what a region computes, tried only for the first of those that are written alike."""
    graph = region_graph(region.inputs, region.nodes, (region.output, *region.outside))
    forms = [(node.meta["form"][:4], node.op == "get_attr") for node in region.inputs]
    key = f"{[node.target for node in graph.nodes]}{[(node.args, node.kwargs) for node in graph.nodes]}{forms}"
    if key not in known:
        known[key] = match(region)
    first = known[key]
    if first is None:
        return None
    outputs = tuple(region.nodes[first.region.nodes.index(node)] for node in first.outputs)
    return first._replace(region=region, outputs=outputs)


def _outputs(region: Region, kind: str) -> tuple[fx.Node, ...] | None:
    """Return what a replacement has to give; None if something else of the region is used outside of it."""
    if not kind.startswith("add_"):
        return None if region.outside else (region.output,)
    sums = [node for node in region.nodes if {*node.all_input_nodes} == {*_rows(region)} and node is not region.output]
    if len(sums) != 1 or any(node is not sums[0] for node in region.outside):
        return None
    return region.output, sums[0]


def found_in(graph: fx.Graph, known: dict[str, Match | None]) -> list[Match]:
    """Return what is found in a graph, nothing twice: of the regions that end alike, the largest.

    Args:
        graph: The graph.
        known: What was found out about regions written alike; grows.
    """
    found: list[Match] = []
    taken: set[fx.Node] = set()
    for _, ending_alike in itertools.groupby(regions(graph), key=lambda region: region.output):
        matches = [_match_once(region, known) for region in ending_alike if not taken & {*region.nodes}]
        largest = next((matched for matched in reversed(matches) if matched is not None), None)
        if largest is not None:
            found.append(largest)
            taken.update(largest.region.nodes)
    return found


# ------------------------------------------------------------------------------------------------------------ trying


def _computes(region: Region, outputs: tuple[fx.Node, ...], form: Form) -> bool:
    """Whether a form gives what the region does, and its gradients, in float64."""
    region_function = callable_of(widened(region_graph(region.inputs, region.nodes, outputs)))
    saturates = "softmax" in region.names()
    for number, scale in enumerate(SCALES):
        inputs = probes(region, torch.float64, min(scale, LARGEST_OF_SCORES) if saturates else scale, seed=number)
        try:
            theirs = _with_gradients(lambda *given: region_function(None, *given), inputs)
            mine = _with_gradients(form.reference, inputs)
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):
            return False
        if not all(_close(one, other) for one, other in zip(mine, theirs, strict=True)):
            return False
    return True


def probes(region: Region, dtype: torch.dtype, scale: float, seed: int) -> list[torch.Tensor]:
    """Return inputs of a region: normal values of a scale where it takes tensors, and rows of zeros among them.

    Of the dimensions that everything is done alike for, no more than two are taken.
    """
    kept = 2 if "softmax" in region.names() else 1
    made: list[torch.Tensor] = []
    for node in region.inputs:
        shape, _, kind, device, _ = node.meta["form"]
        shape = [min(size, 2) for size in shape[:-kept]] + [*shape[-kept:]]
        random = torch.Generator(device="cpu").manual_seed(1_000 * seed + len(made))
        if not kind.is_floating_point:
            mask = torch.randint(0, 2, shape, generator=random)
            if mask.dim():
                mask[..., 0], mask[..., -1] = 1, 0  # no row is all masked, whichever way the mask is meant
            made.append(mask.to(device, kind))
            continue
        weight = node.op == "get_attr"
        values = torch.randn(shape, generator=random, dtype=torch.float64) * (1.0 if weight else scale)
        if not weight and len(shape) > 1 and shape[-2] > 1:
            values[..., -1, :] = 0.0
        made.append(values.to(device, dtype))
    return made


def _with_gradients(function: Callable[..., Any], inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """Evaluate a function, and its gradients in what is floating-point."""
    given = [value.clone().requires_grad_(value.is_floating_point()) for value in inputs]
    with torch.enable_grad():
        outputs = [*function(*given)]
        slopes = [torch.sin(torch.arange(y.numel(), device=y.device)).reshape(y.shape).to(y.dtype) for y in outputs]
        wanted = [value for value in given if value.requires_grad]
        gradients = torch.autograd.grad(outputs, wanted, slopes, allow_unused=True)
    zeros = [torch.zeros_like(value) for value in wanted]
    return [y.detach() for y in outputs] + [
        zero if gradient is None else gradient for gradient, zero in zip(gradients, zeros, strict=True)
    ]


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape:
        return False
    scale = float(other.abs().nan_to_num(0.0, 0.0, 0.0).max()) if other.numel() else 0.0
    close: bool = torch.allclose(one, other.to(one.dtype), rtol=1e-7, atol=CLOSE * scale + 1e-300, equal_nan=True)
    return close


def _nearest(region: Region, outputs: tuple[fx.Node, ...], forms: list[Form]) -> Form:
    """Return the form whose rounding is most like the region's."""
    kinds = {node.meta["form"][2] for node in region.inputs if node.meta["form"][2].is_floating_point}
    if len(forms) == 1 or len(kinds) != 1 or torch.float32 in kinds:
        return forms[0]
    inputs = probes(region, kinds.pop(), 1.0, seed=7)
    theirs = callable_of(region_graph(region.inputs, region.nodes, outputs))(None, *inputs)[0]
    return min(forms, key=lambda form: _strangeness(form.reference(*inputs)[0], theirs))


def _strangeness(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    return float("inf") if mine.dtype != theirs.dtype else float((mine != theirs).double().mean())


# ------------------------------------------------------------------------------------------------------------- norms


def _rows(region: Region) -> list[fx.Node]:
    """Return the inputs that are of the output's shape."""
    shape = region.output.meta["form"][0]
    return [node for node in region.inputs if node.meta["form"][0] == shape]


def _split(region: Region, rows: int, weights: int) -> tuple[list[int], list[int]] | None:
    """Return where among the inputs the rows are, and where the weights; None if there are others."""
    shape = region.output.meta["form"][0]
    if not shape:
        return None
    order = range(len(region.inputs))
    held = [at for at in order if region.inputs[at].meta["form"][0] == shape[-1:] and len(shape) > 1]
    given = [at for at in order if region.inputs[at].meta["form"][0] == shape]
    if len(given) != rows or len(held) > weights or len(given) + len(held) != len(region.inputs):
        return None
    return given, held


def _epsilons(region: Region) -> list[float | None]:
    return [None, *sorted(value for value in region.constants() if 0 < value < LARGEST_EPS), 0.0]


def _rms_forms(region: Region) -> Iterator[Form]:
    from perfkit_kernels.rms_norm import CASTINGS, reference

    split = _split(region, rows=1, weights=1)
    if split is None:
        return
    (x,), held = split
    for eps in _epsilons(region):
        for casting in CASTINGS if held else CASTINGS[:1]:
            number = eps if eps is not None else torch.finfo(region.inputs[x].meta["form"][2]).eps

            def arranged(given: Any, x: int = x, held: Any = held) -> tuple[torch.Tensor, torch.Tensor | None]:
                return given[x], given[held[0]] if held else None

            def native(*given: Any, number: Any = number, casting: str = casting) -> tuple[torch.Tensor, ...]:
                rows, weight = arranged(given)
                weight = 1.0 + weight if casting == "gemma" and weight is not None else weight
                return (F.rms_norm(rows, rows.shape[-1:], weight, number),)

            def plain(*given: Any, number: Any = number, casting: str = casting) -> tuple[torch.Tensor, ...]:
                return (reference(*arranged(given), number, casting),)

            def kernel(*given: Any, number: Any = number, casting: str = casting) -> tuple[torch.Tensor, ...]:
                from perfkit_kernels.rms_norm import rms_norm

                return (rms_norm(*arranged(given), number, casting),)

            weighted = {"gemma": ", times 1 + weight", "llama": ", times weight", "torch": ", times weight"}[casting]
            title = f"RMSNorm, eps {number:g}{weighted if held else ''}"
            yield Form("rms_norm", title, plain, ("torch.nn.functional.rms_norm", native), ("rms_norm", kernel))


def _add_rms_forms(region: Region) -> Iterator[Form]:
    from perfkit_kernels import add_rms_norm
    from perfkit_kernels.rms_norm import CASTINGS

    split = _split(region, rows=2, weights=1)
    if split is None:
        return
    (a, b), held = split
    for eps in _epsilons(region)[1:]:
        for casting in CASTINGS if held else CASTINGS[:1]:

            def plain(*given: Any, eps: Any = eps, casting: str = casting) -> tuple[torch.Tensor, ...]:
                weight = given[held[0]] if held else None
                return tuple(add_rms_norm.reference(given[a], given[b], weight, eps, casting))

            def native(*given: Any, eps: Any = eps, casting: str = casting) -> tuple[torch.Tensor, ...]:
                total = given[a] + given[b]
                weight = given[held[0]] if held else None
                weight = 1.0 + weight if casting == "gemma" and weight is not None else weight
                return F.rms_norm(total, total.shape[-1:], weight, eps), total

            def kernel(*given: Any, eps: Any = eps, casting: str = casting) -> tuple[torch.Tensor, ...]:
                weight = given[held[0]] if held else None
                return add_rms_norm.add_rms_norm(given[a], given[b], weight, eps, casting)

            title = f"residual added, then RMSNorm, eps {eps:g}"
            named = "torch.nn.functional.rms_norm of the sum"
            yield Form("add_rms_norm", title, plain, (named, native), ("add_rms_norm", kernel))


def _layer_norm_forms(region: Region) -> Iterator[Form]:
    split = _split(region, rows=1, weights=2)
    if split is None:
        return
    (x,), held = split
    for eps in _epsilons(region)[1:]:
        for order in [held] if len(held) < 2 else [held, held[::-1]]:  # noqa: PLR2004

            def native(*given: Any, eps: Any = eps, order: Any = order) -> tuple[torch.Tensor, ...]:
                weight, bias = [*[given[at] for at in order], None, None][:2]
                return (F.layer_norm(given[x], given[x].shape[-1:], weight, bias, eps),)

            yield Form("layer_norm", f"LayerNorm, eps {eps:g}", native, ("torch.nn.functional.layer_norm", native))


# ------------------------------------------------------------------------------------------------------- activations


def _gelu_forms(region: Region) -> Iterator[Form]:
    from perfkit_kernels import activations, bias_gelu

    if len(region.inputs) != 1:
        return
    for activation in activations.ACTIVATIONS:

        def plain(*given: Any, activation: str = activation) -> tuple[torch.Tensor, ...]:
            return (activations.activated(given[0], activation),)

        def kernel(*given: Any, activation: str = activation) -> tuple[torch.Tensor, ...]:
            return (bias_gelu.bias_gelu(given[0], None, activation),)

        title = {"silu": "SiLU", "gelu": "GELU", "gelu_tanh": "GELU by tanh"}[activation] + ", written out"
        named = "torch.nn.functional.silu" if activation == "silu" else "torch.nn.functional.gelu"
        ours = None if activation == "silu" else ("bias_gelu", kernel)
        yield Form(activation, title, plain, (named, plain), ours, HOSTILE_TO_ACTIVATIONS)


def _gated_forms(region: Region) -> Iterator[Form]:
    from perfkit_kernels import activations, gated_activation

    if len(region.inputs) != 2 or len(_rows(region)) != 2:  # noqa: PLR2004
        return
    for activation in activations.ACTIVATIONS:
        for a, b in ((0, 1), (1, 0)):

            def plain(*given: Any, a: int = a, b: int = b, activation: str = activation) -> tuple[torch.Tensor, ...]:
                return (gated_activation.reference(given[a], given[b], activation),)

            def kernel(*given: Any, a: int = a, b: int = b, activation: str = activation) -> tuple[torch.Tensor, ...]:
                return (gated_activation.gated_activation(given[a], given[b], activation),)

            title = {"silu": "SwiGLU", "gelu": "GeGLU", "gelu_tanh": "GeGLU by tanh"}[activation]
            named = f"torch.nn.functional.{activation.removesuffix('_tanh')}, multiplied"
            ours = "gated_activation", kernel
            yield Form("gated_activation", title, plain, (named, plain), ours, HOSTILE_TO_ACTIVATIONS)


# --------------------------------------------------------------------------------------------------------- attention


def _attention_forms(region: Region) -> Iterator[Form]:
    floating = [at for at, node in enumerate(region.inputs) if node.meta["form"][2].is_floating_point]
    if len(region.inputs) not in {3, 4} or len(floating) < 3:  # noqa: PLR2004
        return
    forms = [node.meta["form"][0] for node in region.inputs]
    if any(len(shape) < 3 for shape in forms[:1]):  # noqa: PLR2004
        return
    for q, k, v in ((q, k, v) for q in floating for k in floating for v in floating if len({q, k, v}) == 3):  # noqa: PLR2004
        if not _attends(forms[q], forms[k], forms[v], region.output.meta["form"][0]):
            continue
        masks = [at for at in range(len(forms)) if at not in {q, k, v}]
        usual = 1 / math.sqrt(forms[q][-1])
        numbers = {value for value in region.constants() if value > 0}
        scales = sorted({usual, 1.0, *numbers, *(1 / value for value in numbers)}, key=lambda s: abs(s - usual))[:6]
        for scale in scales:
            for how, masked in MASKS.items() if masks else (("", None),):

                def native(
                    *given: Any, at: Any = (q, k, v), scale: float = scale, masked: Any = masked, masks: Any = masks
                ) -> tuple[torch.Tensor, ...]:
                    mask = masked(given[masks[0]]) if masks else None
                    q, k, v = (given[number] for number in at)
                    return (F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale),)

                title = f"attention, scale {scale:.4g}{how}"
                named = "torch.nn.functional.scaled_dot_product_attention"
                yield Form("attention", title, native, (named, native), hostile=HOSTILE_TO_ATTENTION, products=True)


MASKS: Final[dict[str, Any]] = {
    ", a mask added": lambda mask: mask if mask.is_floating_point() else None,
    ", where a mask is set": lambda mask: mask != 0,
    ", where a mask is not set": lambda mask: mask == 0,
}


def _attends(q: torch.Size, k: torch.Size, v: torch.Size, y: torch.Size) -> bool:
    """Whether shapes are those of queries, keys, values and what they give."""
    return (
        len(q) == len(k) == len(v) == len(y)
        and q[:-2] == k[:-2] == v[:-2] == y[:-2]
        and q[-1] == k[-1]
        and k[-2] == v[-2]
        and tuple(y[-2:]) == (q[-2], v[-1])
    )


KINDS: Final[dict[str, tuple[tuple[str, ...], int, Callable[[Region], Iterator[Form]]]]] = {
    "attention": (("softmax",), 3, _attention_forms),
    "add_rms_norm": (("mean", "sum", "norm", "vector_norm", "rms_norm"), 2, _add_rms_forms),
    "rms_norm": (("mean", "sum", "norm", "vector_norm", "rms_norm"), 1, _rms_forms),
    "layer_norm": (("mean", "sum", "var", "std", "var_mean"), 3, _layer_norm_forms),
    "gated_activation": (("silu", "gelu", "sigmoid", "tanh", "erf", "exp", "ndtr"), 2, _gated_forms),
    "gelu": (("tanh", "erf", "sigmoid", "exp", "ndtr"), 2, _gelu_forms),
}
"""What is looked for: names one of which has to be in it, the fewest nodes, and the forms to try."""
