"""PyTorch's fused step of an optimizer, in place of its step parameter by parameter: as a candidate, and put in."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import torch

from perfkit.fix.candidates import ERRORS
from perfkit.fix.environment import environment
from perfkit.fix.judge import surely
from perfkit.model.patch import Candidate, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from perfkit.fix.given import Given

__all__ = ["FusedStep", "rehearsal", "site_of"]

FUSED: Final = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad)
CHECKED_VALUES: Final = 1 << 22
"""Parameters that are held to float64: whole ones, at least one, until there are so many values."""
CHECKED_STEPS: Final = 3
NAME: Final = "fused"


class FusedStep:
    """Makes an optimizer step by one fused operator, and takes that back.

    Its parameters, state and `state_dict` are what they were, but for ``fused`` and ``foreach`` in its groups, and for
    the count of steps, which the fused step has on the device.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self._before: list[dict[str, Any]] = []

    @property
    def applied(self) -> bool:
        """Whether the fused step is in."""
        return bool(self._before)

    def put_in(self) -> None:
        """Step fused from now on."""
        if self._before:
            return
        for group in self.optimizer.param_groups:
            self._before.append({name: group.get(name) for name in ("fused", "foreach")})
            group.update(fused=True, foreach=False)
        vars(self.optimizer)["_step_supports_amp_scaling"] = True  # as its constructor says of a fused one
        self._move_counts(fused=True)

    def take_out(self) -> None:
        """Step as before."""
        if not self._before:
            return
        for group, before in zip(self.optimizer.param_groups, self._before, strict=False):
            group.update(before)
        self._before = []
        vars(self.optimizer).pop("_step_supports_amp_scaling", None)
        self._move_counts(fused=False)

    def _move_counts(self, *, fused: bool) -> None:
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                state = self.optimizer.state.get(parameter, {})
                if torch.is_tensor(state.get("step")) and not group.get("capturable"):
                    state["step"] = state["step"].to(parameter.device if fused else "cpu", torch.float32)


def site_of(given: Given) -> Site:
    """Judge the fused step of the optimizer that a model is trained with, on copies of all that it works on."""
    optimizer = given.optimizer
    assert optimizer is not None
    name = type(optimizer).__name__
    parameters = list(_parameters(optimizer))
    judged = Candidate(NAME, f"torch.optim.{name}(..., fused=True)", accepted=False, reason=_obstacle(given))
    site = Site(
        kind="optimizer", title=f"step of {name}", where="", modules=("optimizer",), calls=1, operators=0,
        shapes=(f"{len(parameters):,} parameters of {sum(p.numel() for p in parameters):,} values",), predicted_ns=0,
        chosen="", reason="", candidates=(),
    )  # fmt: skip
    remembered = False
    if not judged.reason:
        forms = [(tuple(p.shape), p.stride(), p.dtype, p.requires_grad) for p in parameters]
        options = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
        key = (*environment(given), "optimizer", name, options, forms)
        before = given.verdicts.read(key)
        remembered = before is not None
        (judged,) = before or (_judged(given, optimizer, judged),)
        if not remembered:
            given.verdicts.write(key, (judged,))
    reason = "" if not judged.reason else f"{NAME} {judged.reason}"
    return site._replace(reason=reason, candidates=(judged,), remembered=remembered)


def _obstacle(given: Given) -> str:
    """Say why the fused step cannot be tried; nothing if it can."""
    optimizer = given.optimizer
    assert optimizer is not None
    if type(optimizer) not in FUSED:
        return "is not there for it: only for Adam, AdamW, SGD and Adagrad themselves"
    if any(group.get("fused") for group in optimizer.param_groups):
        return "is what it does already"
    if any(group.get("differentiable") for group in optimizer.param_groups):
        return "cannot be differentiated"
    if any(getattr(module, "sparse", False) is True for module in given.model.modules()):
        return "takes no sparse gradients"
    if not all(p.is_floating_point() and p.device.type in {"cpu", "cuda"} for p in _parameters(optimizer)):
        return "takes floating-point parameters on a CPU or an NVIDIA GPU only"
    return ""


def _judged(given: Given, optimizer: torch.optim.Optimizer, judged: Candidate) -> Candidate:
    try:
        error, replaced, reason = _right(given, optimizer)
        judged = judged._replace(error=error, replaced_error=replaced, reason=reason)
        if reason:
            return judged
        steps = [rehearsal(optimizer, fused=fused).step for fused in (False, True)]
        alone = given.measure(*steps, device=given.device.type)
    except ERRORS as failure:
        return judged._replace(reason=f"fails: {type(failure).__name__}")
    return judged._replace(reason=surely(alone), alone=alone)


def _right(given: Given, optimizer: torch.optim.Optimizer) -> tuple[float, float, str]:
    """Hold some parameters after some steps to the same in float64: the error, that of the present step, a reason."""
    few = _few(optimizer)
    theirs, mine = (rehearsal(optimizer, fused=fused, only=few) for fused in (False, True))
    exact = rehearsal(optimizer, fused=False, only=few, dtype=torch.float64)
    for _ in range(CHECKED_STEPS):
        for one in (theirs, mine, exact):
            one.step()
    error = replaced = 0.0
    for one, other, truth in zip(*map(_parameters, (mine, theirs, exact)), strict=True):
        answer = given.agree(one.detach(), other.detach(), truth.detach())
        error, replaced = max(error, answer.error), max(replaced, answer.replaced_error)
        if not answer.right:
            return error, replaced, answer.reason
    return error, replaced, ""


def rehearsal(
    optimizer: torch.optim.Optimizer,
    *,
    fused: bool,
    only: frozenset[int] | None = None,
    dtype: torch.dtype | None = None,
) -> torch.optim.Optimizer:
    """Return the same optimizer over copies of its parameters and state, with gradients that are made up.

    Args:
        optimizer: Itself is not touched.
        fused: Whether the copy steps fused.
        only: Identities of the parameters to copy; all by default.
        dtype: Dtype of the copy; their own by default.
    """
    groups, copies = [], {}
    for group in optimizer.param_groups:
        chosen = [p for p in group["params"] if p.requires_grad and (only is None or id(p) in only)]
        for p in chosen:
            copies[p] = torch.nn.Parameter(p.detach().to(dtype or p.dtype, copy=True))
            copies[p].grad = made_up(p).to(dtype or p.dtype)
        if chosen:
            groups.append({**group, "params": [copies[p] for p in chosen]})
    twin = type(optimizer)(groups)
    for p, copied in copies.items():
        if p in optimizer.state:
            twin.state[copied] = {name: _copied(value, p, dtype) for name, value in optimizer.state[p].items()}
    if fused:
        FusedStep(twin).put_in()
    return twin


def made_up(parameter: torch.Tensor) -> torch.Tensor:
    """Return the same gradient each time, without a random number."""
    order = torch.arange(parameter.numel(), device=parameter.device, dtype=torch.float32)
    gradient = torch.empty_like(parameter)  # strides as they are
    return gradient.copy_(torch.sin(order * 0.7).mul_(0.01).reshape(parameter.shape))


def _copied(value: Any, parameter: torch.Tensor, dtype: torch.dtype | None) -> Any:
    if not torch.is_tensor(value):
        return value
    return value.to(dtype, copy=True) if dtype and value.shape == parameter.shape else value.clone()


def _few(optimizer: torch.optim.Optimizer) -> frozenset[int]:
    chosen = [p for p in _parameters(optimizer) if p.requires_grad]
    sizes = itertools.accumulate(p.numel() for p in chosen)
    return frozenset(id(p) for p, size in zip(chosen, sizes, strict=True) if p is chosen[0] or size <= CHECKED_VALUES)


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[torch.Tensor]:
    return (parameter for group in optimizer.param_groups for parameter in group["params"])


def steps_of(given: Given) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return the step as it is and the fused one, each on copies: to be timed after a step of the model."""
    assert given.optimizer is not None
    return rehearsal(given.optimizer, fused=False).step, rehearsal(given.optimizer, fused=True).step
