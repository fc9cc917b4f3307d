"""Which operation a region computes, found out by trying: inputs at random, small, large and zero, in float64 first.

In float64 two ways of writing the same function agree to some ten digits, and two functions that differ in where an
epsilon stands do not. Castings show in half precision only, where they are told apart by which of them errs least from
what the region gives. Gradients have to agree as well: a region that detaches something is another function. What a
region drops at random is left in on both sides; the probability is read off, and where it is dropped.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

import torch

from perfkit.fix.certainty import certain
from perfkit.fix.operations.sizes import fitted, shrinkings
from perfkit.fix.regions import callable_of, is_look_up, name_of, region_graph, widened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import fx

    from perfkit.fix.operations.form import Form
    from perfkit.fix.regions import Region

__all__ = ["Trial", "nearest"]

SCALES: Final = (1.0, 1e-3, 30.0)
"""Of what size the probes are: at the second an epsilon of 1e-6 is what the answer depends on."""
LARGEST_OF_SCORES: Final = 3.0
"""With larger ones a softmax is one or zero, and its gradient nothing but rounding."""
CLOSE: Final = 1e-9
HALF: Final = 0.5
IGNORED: Final = -100
CHOICES: Final = frozenset({"cross_entropy", "nll_loss", "log_softmax", "logsumexp"})
"""Functions of classes, of which integers name one."""
ERRORS: Final = (RuntimeError, TypeError, ValueError, IndexError, AttributeError, AssertionError, KeyError)


class Trial:
    """A region, and what it gives for probes.

    Attributes:
        region: The region.
        outputs: Which of its nodes are compared.
        sound: Whether it could be tried.
    """

    def __init__(self, region: Region, outputs: Sequence[fx.Node]) -> None:
        self.region, self.outputs = region, tuple(outputs)
        self._names = region.names()
        self._learned = ["constant" not in node.meta for node in region.inputs]
        self._answers: dict[int, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}
        self.sound = any(
            self._fits(sizes, ignoring=ignoring) for sizes in shrinkings(region) for ignoring in (True, False)
        )

    def _fits(self, sizes: dict[int, int], *, ignoring: bool) -> bool:
        """Try the region with other sizes, and with a target that is to be ignored; remember what works."""
        if ignoring and not self._names & CHOICES:
            return False
        graph = fitted(region_graph(self.region.inputs, self.region.nodes, self.outputs), sizes)
        self._sizes, self._ignoring = sizes, ignoring
        self._run = functools.partial(callable_of(widened(graph)), None)
        try:
            with certain(), torch.no_grad():
                first = self._run(*self._probes(torch.float64, 0))
        except ERRORS:
            return False
        return _tells(first[0]) and all(
            tuple(value.shape) == tuple(sizes.get(size, size) for size in node.meta["form"][0])
            for value, node in zip(first, self.outputs, strict=True)
        )

    def computes(self, form: Form) -> bool:
        """Whether a form gives what the region does, and its gradients, in float64."""
        with certain():
            for number in range(len(SCALES)):
                if number not in self._answers:
                    probes = self._probes(torch.float64, number)
                    try:
                        self._answers[number] = probes, _with_gradients(self._run, probes, self._learned)
                    except ERRORS:
                        self.sound = False
                        return False
                probes, theirs = self._answers[number]
                try:
                    if not number and not self._begins_alike(form, probes, theirs):
                        return False
                    mine = _with_gradients(form.reference, probes, self._learned)
                except ERRORS:
                    return False
                if not all(_close(one, other) for one, other in zip(mine, theirs, strict=True)):
                    return False
        return True

    def _begins_alike(self, form: Form, probes: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
        """Whether the first output is the same: most forms are told by that, at a third of the cost."""
        with torch.no_grad():
            return _close(form.reference(*probes)[0], theirs[0])

    def _probes(self, dtype: torch.dtype, number: int) -> list[torch.Tensor]:
        """Return inputs of the region: normal values of a scale where it takes tensors, rows of zeros among them."""
        scale = SCALES[number]
        if self._names & {"softmax", "scaled_dot_product_attention"}:
            scale = min(scale, LARGEST_OF_SCORES)
        made: list[torch.Tensor] = []
        for node in self.region.inputs:
            shape, _, kind, device, _ = node.meta["form"]
            shape = [self._sizes.get(size, size) for size in shape]
            random = torch.Generator(device="cpu").manual_seed(1_000 * number + len(made))
            constant = node.meta.get("constant")
            if constant is not None:
                cut = constant.value[tuple(slice(size) for size in shape)]
                made.append(cut.to(dtype) if kind.is_floating_point else cut)
            elif kind.is_complex:
                made.append(torch.randn(shape, generator=random, dtype=torch.complex128).to(device))
            elif kind.is_floating_point:
                made.append(_values(node, shape, scale, random).to(device, dtype))
            else:
                made.append(self._integers(shape, kind, random).to(device))
        return made

    def _integers(self, shape: list[int], kind: torch.dtype, random: torch.Generator) -> torch.Tensor:
        """Return classes or rows where something is chosen by them, a mask otherwise."""
        most = next((size for node in self.region.nodes if (size := _choices(node))), 0)
        if most and kind == torch.int64:
            chosen = torch.randint(0, self._sizes.get(most, most), shape, generator=random)
            if self._ignoring and chosen.numel() > 1:
                chosen.view(-1)[0] = IGNORED
            return chosen
        mask = torch.randint(0, 2, shape, generator=random)
        if mask.dim():
            mask[..., 0], mask[..., -1] = 1, 0  # no row is all masked, whichever way the mask is meant
        return mask.to(kind)


def _tells(result: torch.Tensor) -> bool:
    """Whether a result says something: mostly numbers, and not one number for whatever was given."""
    finite = torch.isfinite(result)
    return bool(finite.double().mean() > HALF) and (
        result.numel() == 1 or bool((result != result.reshape(-1)[0]).any())
    )


def _values(node: fx.Node, shape: list[int], scale: float, random: torch.Generator) -> torch.Tensor:
    weight = node.op == "get_attr"
    values = torch.randn(shape, generator=random, dtype=torch.float64) * (1.0 if weight else scale)
    if not weight and len(shape) > 1 and shape[-2] > 1:
        values[..., -1, :] = 0.0
    return values


def _choices(node: fx.Node) -> int:
    """Return among how many a node lets integers choose; 0 if it does not."""
    name = name_of(node)
    given = node.all_input_nodes
    if name == "embedding" or is_look_up(node):
        forms = [other.meta["form"] for other in given if other.meta["form"][2].is_floating_point]
        return int(forms[0][0][0]) if forms else 0
    return int(given[0].meta["form"][0][-1]) if name in CHOICES and given else 0


def _with_gradients(
    function: Callable[..., Any], inputs: list[torch.Tensor], learned: list[bool]
) -> list[torch.Tensor]:
    """Evaluate a function, and its gradients in what is floating-point and not always the same."""
    given = [
        value.clone().requires_grad_(value.is_floating_point() and varies)
        for value, varies in zip(inputs, learned, strict=True)
    ]
    with torch.enable_grad():
        outputs = [*function(*given)]
        slopes = [torch.cos(torch.arange(y.numel(), device=y.device)).reshape(y.shape).to(y.dtype) for y in outputs]
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


def nearest(trial: Trial, forms: list[Form]) -> Form:
    """Return the form whose rounding is most like the region's."""
    region = trial.region
    kinds = {node.meta["form"][2] for node in region.inputs if node.meta["form"][2].is_floating_point}
    if len(forms) == 1 or len(kinds) != 1 or torch.float32 in kinds:
        return forms[0]
    inputs = trial._probes(kinds.pop(), 0)  # noqa: SLF001  of this file
    graph = fitted(region_graph(region.inputs, region.nodes, trial.outputs), trial._sizes)  # noqa: SLF001
    with certain():
        theirs = callable_of(graph)(None, *inputs)[0]
        return min(forms, key=lambda form: _strangeness(form.reference(*inputs)[0], theirs))


def _strangeness(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    return float("inf") if mine.dtype != theirs.dtype else float((mine != theirs).double().mean())
