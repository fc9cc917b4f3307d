"""From a model and example inputs to the same model, faster where that is proved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from perfkit.errors import MissingExtraError, UsageError
from perfkit.verify.timing import measure as in_turns

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import torch

    from perfkit.fix.optimized import Optimized
    from perfkit.model.measurement import Measure
    from perfkit.model.patch import Patch

__all__ = ["CANDIDATES", "optimize"]

CANDIDATES: Final = ("native", "compile", "kernel", "generated", "graph", "fused")


def optimize(
    model: torch.nn.Module,
    example_inputs: torch.Tensor | tuple[Any, ...] | Mapping[str, Any],
    *,
    mode: Literal["train", "infer"],
    candidates: Collection[str] = CANDIDATES,
    optimizer: torch.optim.Optimizer | None = None,
    measure: Measure | None = None,
) -> Optimized:
    """Find places in a model for which there is a faster implementation, and put in what is proved there.

    The model is run some dozens of times, on the inputs given. A replacement is applied where it is numerically right
    (its error against float64 at most twice that of what it replaces, gradients included), over 3 % faster at its place
    by the lower end of a 95 % interval, and the model as a whole is faster with it. It serves calls of the signature
    that it was measured with (shapes, strides, dtypes, modes); any other call runs as before.

    Args:
        model: The model, on its device and in its dtype; it is changed in place, and in nothing but how it computes.
            Python state is not put back, though: hooks and plain attributes, such as counters, see the dozens of calls
            that measure.
        example_inputs: What it is called with: a tensor, a tuple of arguments, or a mapping of keyword arguments.
        mode: ``train`` for forward and backward in training mode, ``infer`` for the forward in evaluation mode.
        candidates: What to try: ``native`` functions of PyTorch, ``compile`` of a place alone and of the whole model,
            a ``kernel`` of ours, one ``generated`` for the place's operators, a CUDA ``graph`` of the whole model, the
            ``fused`` step of the optimizer.
        optimizer: What the model is trained with: Adam, AdamW, SGD and Adagrad have a fused step, which is tried on
            copies of parameters and state, and put into this one where it is proved.
        measure: Measures instead of `perfkit.verify.timing.measure`.

    Returns:
        The model with `revert`, `reverted` and `report`.

    Raises:
        MissingExtraError: torch is not installed.
        UsageError: There is no such mode or candidate, or an optimizer where nothing trains; the model is no module, or
            the inputs are nothing to call it with.
    """
    if mode not in {"train", "infer"} or not set(candidates) <= set(CANDIDATES):
        message = (
            f"mode is {mode!r}, candidates are {sorted(candidates)}: modes are train and infer, candidates {CANDIDATES}"
        )
        raise UsageError(message)
    if optimizer is not None and mode == "infer":
        message = "an optimizer was given, and nothing trains: its step is part of mode='train'"
        raise UsageError(message)
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("optimize()", "fix") from error
    if not isinstance(model, torch.nn.Module):
        message = f"the model is of type {type(model).__name__}: pass an instance of torch.nn.Module"
        raise UsageError(message)
    from perfkit.fix.choose import choose
    from perfkit.fix.given import Given
    from perfkit.fix.verdicts import Verdicts
    from perfkit.verify.numerics import agree, agree_over

    verdicts = Verdicts.of_user() if measure is None else Verdicts(None)
    wanted, train = frozenset(candidates), mode == "train"

    def chosen(inputs: Any, optimizer: torch.optim.Optimizer | None = None) -> Optimized:
        args, kwargs = _called_with(inputs, torch)
        given = Given(model, args, kwargs, train, measure or in_turns, agree, agree_over, verdicts, wanted, optimizer)
        return choose(given, draw, chosen)

    return chosen(example_inputs, optimizer)


def draw(patch: Patch, form: Literal["text", "markdown", "json"]) -> str:
    """Draw what was done, the text as wide as the terminal."""
    import shutil

    from perfkit.report import optimization
    from perfkit.report.pen import Pen

    if form == "text":
        return optimization.draw_text(patch, Pen(shutil.get_terminal_size().columns, colour=False, unicode=True))
    return optimization.draw_markdown(patch) if form == "markdown" else optimization.draw_json(patch)


def _called_with(example_inputs: Any, torch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return positional and keyword arguments.

    Raises:
        UsageError: The inputs are neither.
    """
    if torch.is_tensor(example_inputs):
        return (example_inputs,), {}
    if hasattr(example_inputs, "keys"):
        return (), {str(key): example_inputs[key] for key in example_inputs.keys()}  # noqa: SIM118  BatchEncoding
    if not isinstance(example_inputs, tuple | list):
        message = (
            f"example_inputs is of type {type(example_inputs).__name__}: "
            "pass a tensor, a tuple of arguments, or a mapping of keyword arguments"
        )
        raise UsageError(message)
    return tuple(example_inputs), {}
