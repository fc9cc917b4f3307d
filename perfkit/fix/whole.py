"""What could stand for a model as a whole: the model compiled, or recorded as a CUDA graph with what is put into it."""

from __future__ import annotations

import copy
import types
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch.overrides import TorchFunctionMode

from perfkit.fix import graphs
from perfkit.fix.candidates import ERRORS, largest
from perfkit.fix.given import in_model, leaves
from perfkit.fix.judge import surely
from perfkit.fix.optimized import put_in, take_out
from perfkit.fix.patched import Patched, Variant
from perfkit.fix.signature import UnfamiliarError, signature
from perfkit.model.patch import Candidate, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from perfkit.fix.given import Given

__all__ = ["Whole", "consider", "installed", "results"]

NARROW: Final = (torch.float32, torch.float16, torch.bfloat16)


class Whole(NamedTuple):
    """What stands for the whole model in calls of one signature."""

    name: str
    key: Hashable
    variant: Variant


def installed(patched: Sequence[Patched], model: torch.nn.Module, whole: Whole | None) -> list[Patched]:
    """Return what to put in, with what stands for the whole model."""
    if whole is None:
        return list(patched)
    # Compiled, it is the model's own forward that runs: what stands in parts of it would never be called.
    kept = [one for one in patched if one.owner is not model] if whole.name == "graph" else []
    root = Patched(model)
    root.variants = {key: v for one in patched if one.owner is model for key, v in one.variants.items()}
    root.variants[whole.key] = whole.variant
    return [*kept, root]


def consider(given: Given, patched: Sequence[Patched], passed: Sequence[str]) -> tuple[Site, Whole | None]:
    """Try what could stand for the whole model, over what was put into its parts.

    Args:
        given: The model, with nothing put in.
        patched: What was chosen for its parts.
        passed: What its modules do that a graph cannot stand for.
    """
    tensors: list[torch.Tensor] = []
    obstacle, key = "", None
    try:
        with torch.set_grad_enabled(given.train):
            key = signature((given.args, dict(given.kwargs)), tensors)
    except UnfamiliarError as error:
        obstacle = f"is called with a value of type {error}"
    chosen: Whole | None = None
    judged: list[Candidate] = []
    forms = tuple(f"{str(t.dtype).removeprefix('torch.')}{list(t.shape)}" for t in tensors)
    for name, title in (("compile", "torch.compile of the model"), ("graph", "a CUDA graph of the model")):
        if name in given.wanted:
            reason = obstacle or (graphs.obstacle(given.model, given.device) if name == "graph" else "")
            if name == "graph" and not reason and passed:
                reason = f"cannot stand for what its modules do: {passed[0]}"
            candidate = Candidate(name, title, accepted=False, reason=reason)
            whole = None
            if not reason:
                candidate, whole = _judged(given, candidate, key, patched, chosen)
            if whole is not None:
                judged = [one._replace(accepted=False, reason=_slower(name)) if one.accepted else one for one in judged]
                chosen = whole
            judged.append(candidate)
    reasons = "; ".join(f"{one.name} {one.reason}" for one in judged if not one.accepted)
    site = Site(
        kind="model", title="the model as a whole", where="", modules=("",), calls=1, operators=0, shapes=forms,
        predicted_ns=0, chosen=chosen.name if chosen else "", reason="" if chosen else reasons,
        candidates=tuple(judged),
    )  # fmt: skip
    return site, chosen


def _slower(name: str) -> str:
    return f"right and faster, but {name} is the fastest"


def _judged(
    given: Given, candidate: Candidate, key: Hashable, patched: Sequence[Patched], before: Whole | None
) -> tuple[Candidate, Whole | None]:
    """Make a candidate, hold it to the model, and time it against what is the fastest so far."""
    model = given.model
    try:
        if candidate.name == "compile":
            compiled = torch.compile(types.MethodType(type(model).forward, model), dynamic=False)
            variant = Variant(_called_like(compiled, given), lambda: True)  # Dynamo has its own guards
        else:
            put_in(patched)
            try:
                with torch.set_grad_enabled(given.train):
                    variant = graphs.graphed(model, model.forward, given.args, given.kwargs)
            finally:
                take_out(patched)
        whole = Whole(candidate.name, key, variant)
        candidate = held_to_the_model(given, candidate, installed(patched, model, whole))
        if candidate.reason:
            return candidate, None
        sides = installed(patched, model, before), installed(patched, model, whole)
        measured = in_model(given, *sides)
    except ERRORS as failure:
        return candidate._replace(reason=f"fails: {type(failure).__name__}"), None
    reason = surely(measured)
    candidate = candidate._replace(alone=measured, reason=reason or "the fastest that is right", accepted=not reason)
    return candidate, None if reason else whole


def _called_like(compiled: Callable[..., Any], given: Given) -> Callable[..., Any]:
    """Return a function of the tensors of a call that calls with all of its arguments."""
    from perfkit.fix.signature import filled

    example = given.args, dict(given.kwargs)

    def run(_: torch.nn.Module, *tensors: torch.Tensor) -> Any:
        args, kwargs = filled(example, iter(tensors))
        return compiled(*args, **kwargs)

    return run


# ---------------------------------------------------------------------------------------------------------- numerics


def held_to_the_model(given: Given, candidate: Candidate, patched: Sequence[Patched]) -> Candidate:
    """Return a candidate with its error, and with a reason against it where it does not compute what the model does.

    Outputs are compared one by one; gradients of parameters together, each as a part of its largest value.
    """
    torch.manual_seed(0)
    theirs = results(given)
    torch.manual_seed(1)
    if not all(map(_same, theirs, results(given))):
        return candidate._replace(reason="cannot be compared: the model draws random numbers")
    exact = in_float64(given)
    put_in(patched)
    try:
        mine = results(given)
        kept = None if candidate.name != "graph" else _keeps(given)
    finally:
        take_out(patched)
    if kept is False:
        return candidate._replace(reason="writes over what an earlier call gave")
    error = replaced = 0.0
    for one, other, truth in _pairs(given, mine, theirs, exact):
        answer = given.agree(one, other, truth, magnitude=largest(truth))
        error, replaced = max(error, answer.error), max(replaced, answer.replaced_error)
        if not answer.right:
            return candidate._replace(reason=answer.reason, error=answer.error, replaced_error=answer.replaced_error)
    return candidate._replace(error=error, replaced_error=replaced)


def results(given: Given, model: torch.nn.Module | None = None) -> list[torch.Tensor]:
    """Return a model's outputs and, where it trains, the gradients of its parameters."""
    model = model or given.model
    with torch.set_grad_enabled(given.train):
        outputs = [y for y in leaves(model(*given.args, **given.kwargs)) if y.is_floating_point()]
        sloped = [y for y in outputs if y.requires_grad]
        wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not (given.train and sloped and wanted):
            return [y.detach() for y in outputs]
        slopes = [_slope(y) for y in sloped]
        gradients = torch.autograd.grad(sloped, wanted, slopes, allow_unused=True)
    return [y.detach() for y in outputs] + [g for g in gradients if g is not None]


def _slope(y: torch.Tensor) -> torch.Tensor:
    order = torch.arange(y.numel(), device=y.device, dtype=torch.float32)
    return torch.cos(order * 0.7).reshape(y.shape).to(y.dtype)


def in_float64(given: Given) -> list[torch.Tensor]:
    """Return what a model would give in float64, wherever its code asks for another floating-point type."""

    def widened(value: Any) -> Any:
        return value.detach().double() if torch.is_tensor(value) and value.is_floating_point() else value

    from torch.utils import _pytree as pytree

    args, kwargs = pytree.tree_map(widened, (given.args, dict(given.kwargs)))
    twin = copy.deepcopy(given.model).double()
    with _Wide():
        return results(given._replace(model=twin, args=args, kwargs=kwargs))


class _Wide(TorchFunctionMode):
    """Makes float64 of every other floating-point type that is asked for."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        if getattr(function, "__name__", "") in {"float", "half", "bfloat16"} and args and torch.is_tensor(args[0]):
            return args[0].double()
        wide = [torch.float64 if any(value is one for one in NARROW) else value for value in args]
        named = {
            name: torch.float64 if any(value is one for one in NARROW) else value
            for name, value in (kwargs or {}).items()
        }
        result = function(*wide, **named)
        made = torch.is_tensor(result) and result.dtype in NARROW
        return result.double() if made else result


def _pairs(
    given: Given, mine: list[torch.Tensor], theirs: list[torch.Tensor], exact: list[torch.Tensor]
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    with torch.no_grad():
        outputs = sum(y.is_floating_point() for y in leaves(given.model(*given.args, **given.kwargs)))
    yield from zip(mine[:outputs], theirs[:outputs], exact[:outputs], strict=True)
    if len(exact) > outputs:
        sizes = [largest(truth) or 1.0 for truth in exact[outputs:]]
        yield tuple(
            torch.cat([g.double().flatten() / size for g, size in zip(found[outputs:], sizes, strict=True)])
            for found in (mine, theirs, exact)
        )


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool(torch.equal(one.nan_to_num(), other.nan_to_num()))


def _halved(value: Any) -> Any:
    if not (torch.is_tensor(value) and value.is_floating_point()):
        return value
    return (value.detach() / 2).requires_grad_(value.requires_grad)


def _keeps(given: Given) -> bool:
    """Whether outputs outlive the next call, and gradients of two calls add up."""
    wanted = [parameter for parameter in given.model.parameters() if parameter.requires_grad]
    before = [parameter.grad for parameter in wanted]
    half = given._replace(args=tuple(map(_halved, given.args)))
    try:
        for parameter in wanted:
            parameter.grad = None
        with torch.set_grad_enabled(given.train):
            first = leaves(given.model(*given.args, **given.kwargs))
            kept = [y.detach().clone() for y in first]
            leaves(half.model(*half.args, **half.kwargs))
            if not all(map(_same, first, kept)):
                return False
        if not given.train:
            return True
        expected = [g * 4 for g in results(given)[sum(y.is_floating_point() for y in first) :]]
        for factor in (1, 3):
            sloped = [y for y in leaves(given.model(*given.args, **given.kwargs)) if y.requires_grad]
            torch.autograd.backward(sloped, [_slope(y) * factor for y in sloped])
        found = [parameter.grad for parameter in wanted if parameter.grad is not None]
        return all(torch.allclose(a, b, rtol=1e-3) for a, b in zip(found, expected, strict=True))
    finally:
        for parameter, gradient in zip(wanted, before, strict=True):
            parameter.grad = gradient
