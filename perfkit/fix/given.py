"""What is looked at: a model, how it is called, what measures it; and a step of it."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch.utils import _pytree as pytree

from perfkit.fix.optimized import put_in, take_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from perfkit.fix.candidates import Agree, AgreeOver
    from perfkit.fix.patched import Patched
    from perfkit.fix.verdicts import Verdicts
    from perfkit.model.measurement import Measure, Measurement

__all__ = ["Given", "bandwidth", "in_model", "leaves", "operator_ns", "step_ns", "undisturbed"]

OPERATORS_TIMED: Final = 100
COPIED_BYTES: Final = {"cuda": 512 << 20}
COPIED_BYTES_OF_HOST: Final = 64 << 20


class Given(NamedTuple):
    """What `choose` works with: a model and how it is called, and functions of other stages."""

    model: torch.nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    train: bool
    measure: Measure
    agree: Agree
    agree_over: AgreeOver
    verdicts: Verdicts
    wanted: frozenset[str]
    optimizer: torch.optim.Optimizer | None = None

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        tensors = (*self.model.parameters(), *self.model.buffers(), *(t for t in self.args if torch.is_tensor(t)))
        return tensors[0].device if tensors else torch.device("cpu")

    def step(self) -> None:
        """Do what the model is for, once: forward, and where it trains backward, with no gradient kept."""
        with torch.set_grad_enabled(self.train):
            outputs = self.model(*self.args, **self.kwargs)
            if self.train:
                wanted = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
                sloped = [y for y in leaves(outputs) if y.requires_grad]
                if wanted and sloped:
                    torch.autograd.grad(sloped, wanted, [torch.ones_like(y) for y in sloped], allow_unused=True)


def leaves(value: Any) -> list[torch.Tensor]:
    """Return the tensors in what a model returned."""
    return [leaf for leaf in pytree.tree_leaves(value) if torch.is_tensor(leaf)]


def in_model(
    given: Given,
    before: Sequence[Patched],
    after: Sequence[Patched],
    then: tuple[Callable[[], object], Callable[[], object]] | None = None,
) -> Measurement:
    """Time a step of the model with some replacements against one with others.

    Args:
        given: The model.
        before: What is put in on the one side.
        after: What is put in on the other.
        then: What each side does after the step, such as a step of an optimizer.
    """

    def with_side(patched: Sequence[Patched], afterwards: Callable[[], object] | None) -> Callable[[], None]:
        def step() -> None:
            put_in(patched)
            try:
                given.step()
            finally:
                take_out(patched)
            if afterwards is not None:
                afterwards()

        return step

    first, second = then or (None, None)
    return given.measure(with_side(before, first), with_side(after, second), device=given.device.type)


def step_ns(given: Given) -> int:
    """Return the shortest of a few steps, ns: what sites are too small for is told by it, and nothing else."""
    times = []
    for _ in range(4):
        begun = time.perf_counter_ns()
        given.step()
        settle(given.device)
        times.append(time.perf_counter_ns() - begun)
    return min(times)


def bandwidth(device: torch.device) -> float:
    """Return the bytes a second of a copy on a device: read and written."""
    size = COPIED_BYTES.get(device.type, COPIED_BYTES_OF_HOST)
    source = torch.ones(size, dtype=torch.int8, device=device)
    target = torch.empty_like(source)
    times = []
    for _ in range(4):
        settle(device)
        begun = time.perf_counter_ns()
        target.copy_(source)
        settle(device)
        times.append(time.perf_counter_ns() - begun)
    return 2 * size / (min(times) / 1e9)


def operator_ns(device: torch.device, *, train: bool) -> float:
    """Return what calling an operator on a number takes, ns; its backward with it where a model trains."""
    number = torch.ones(1, device=device, requires_grad=train)
    times = []
    for _ in range(4):
        settle(device)
        begun = time.perf_counter_ns()
        with torch.set_grad_enabled(train):
            result = number
            for _ in range(OPERATORS_TIMED):
                result = result * 1.0
            if train:
                torch.autograd.grad(result, number)
        settle(device)
        times.append(time.perf_counter_ns() - begun)
    return min(times) / OPERATORS_TIMED


def settle(device: torch.device) -> None:
    """Wait for the work of a device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextlib.contextmanager
def undisturbed(model: torch.nn.Module, *, train: bool) -> Iterator[None]:
    """Put a model into a mode; afterwards its modes, buffers and the random numbers to come are what they were."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        model.train(train)
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training
            with torch.no_grad():
                for buffer, value in buffers:
                    if not torch.equal(buffer, value):
                        buffer.copy_(value)
