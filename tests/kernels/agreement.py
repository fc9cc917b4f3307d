"""How a kernel is held to its reference: both against float64, outputs and gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from perfkit.verify.numerics import agree_over

if TYPE_CHECKING:
    from collections.abc import Callable


class Results(NamedTuple):
    """Outputs, then the gradient of each floating-point argument; and the size of the terms that each is a sum of."""

    tensors: list[torch.Tensor]
    magnitudes: list[float]


def largest(*tensors: torch.Tensor) -> float:
    """Return the largest finite magnitude."""
    return max((float(t.detach().abs().nan_to_num(0.0, 0.0, 0.0).max()) for t in tensors if t.numel()), default=0.0)


def differentiable(arguments: tuple[Any, ...], constant: tuple[int, ...] = ()) -> list[Any]:
    """Return the arguments, of whose floating-point tensors gradients are wanted, but of those at some positions."""
    return [
        value.detach().requires_grad_(index not in constant)
        if isinstance(value, torch.Tensor) and value.is_floating_point()
        else value
        for index, value in enumerate(arguments)
    ]


def evaluate(function: Callable[..., Any], arguments: tuple[Any, ...], constant: tuple[int, ...] = ()) -> Results:
    """Evaluate a function and its gradients; a gradient's terms are of the size of slope times output over input."""
    given = differentiable(arguments, constant)
    outputs = function(*given)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    sloped = [output for output in outputs if output.requires_grad]
    random = torch.Generator().manual_seed(1)
    slopes = [torch.randn(y.shape, generator=random).to(y.device, y.dtype) for y in sloped]
    wanted = [value for value in given if isinstance(value, torch.Tensor) and value.requires_grad]
    gradients = torch.autograd.grad(sloped, wanted, slopes, allow_unused=True) if sloped else ()
    whole = largest(*slopes) * largest(*sloped)
    known = [(gradient, value) for gradient, value in zip(gradients, wanted, strict=False) if gradient is not None]
    return Results(
        [*outputs, *(gradient for gradient, _ in known)],
        [0.0] * len(outputs) + [whole / (largest(value) or 1.0) for _, value in known],
    )


def widen(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments in float64."""
    return tuple(
        value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        for value in arguments
    )


def check(
    function: Callable[..., Any],
    reference: Callable[..., Any],
    draw: Callable[[int], tuple[Any, ...]],
    constant: tuple[int, ...] = (),
) -> None:
    """Hold a function to its reference: error against float64 at most twice that of the reference.

    Args:
        function: What is tested.
        reference: The same in eager PyTorch.
        draw: Makes arguments of a seed.
        constant: Positions of floating-point arguments that have no gradient.
    """

    def compared(seed: int) -> list[tuple[Any, ...]]:
        mine, theirs = (evaluate(each, draw(seed), constant) for each in (function, reference))
        truth = evaluate(reference, widen(draw(seed)), constant)
        return [*zip(mine.tensors, theirs.tensors, truth.tensors, truth.magnitudes, strict=True)]

    for index, answer in enumerate(agree_over(compared)):
        assert answer.right, f"result {index}: {answer.reason}"


def changed(
    draw: Callable[[int], tuple[Any, ...]], change: Callable[[int, Any], Any]
) -> Callable[[int], tuple[Any, ...]]:
    """Return what makes arguments of a seed whose tensors are changed, by their position and value."""

    def changed_draw(seed: int) -> tuple[Any, ...]:
        values = enumerate(draw(seed))
        return tuple(change(index, value) if isinstance(value, torch.Tensor) else value for index, value in values)

    return changed_draw


class Calls(torch.utils._python_dispatch.TorchDispatchMode):
    """While it is entered, keeps which of our operators are called, and with what."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.namespace == "perfkit":
            self.made.append((function, args))
        return function(*args, **(kwargs or {}))

    def check(self) -> None:
        """Hold each operator to what PyTorch expects of one."""
        for function, args in self.made:
            torch.library.opcheck(
                function, tuple(value.detach() if isinstance(value, torch.Tensor) else value for value in args)
            )
