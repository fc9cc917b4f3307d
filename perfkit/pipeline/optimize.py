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

CANDIDATES: Final = ("native", "compile", "kernel")


def optimize(
    model: torch.nn.Module,
    example_inputs: torch.Tensor | tuple[Any, ...] | Mapping[str, Any],
    *,
    mode: Literal["train", "infer"],
    candidates: Collection[str] = CANDIDATES,
    measure: Measure | None = None,
) -> Optimized:
    """Find places in a model for which there is a faster implementation, and put in what is proved there.

    The model is run some dozens of times, on the inputs given. A replacement is applied where it is numerically right
    (its error against float64 at most twice that of what it replaces, gradients included), over 3 % faster at its place
    by the lower end of a 95 % interval, and the model as a whole is faster with it. It serves calls of the signature
    that it was measured with (shapes, strides, dtypes, modes); any other call runs as before.

    Args:
        model: The model, on its device and in its dtype; it is changed in place, and in nothing but how it computes.
        example_inputs: What it is called with: a tensor, a tuple of arguments, or a mapping of keyword arguments.
        mode: ``train`` for forward and backward in training mode, ``infer`` for the forward in evaluation mode.
        candidates: What to try: ``native`` functions of PyTorch, ``compile`` of the place alone, a ``kernel`` of ours.
        measure: Measures instead of `perfkit.verify.timing.measure`.

    Returns:
        The model with `revert`, `reverted` and `report`.

    Raises:
        MissingExtraError: torch is not installed.
        UsageError: There is no such mode or candidate.
    """
    if mode not in {"train", "infer"} or not set(candidates) <= set(CANDIDATES):
        message = (
            f"mode is {mode!r}, candidates are {sorted(candidates)}: modes are train and infer, candidates {CANDIDATES}"
        )
        raise UsageError(message)
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("optimize()", "fix") from error
    from perfkit.fix.choose import Given, choose
    from perfkit.fix.verdicts import Verdicts
    from perfkit.verify.numerics import agree

    args, kwargs = _called_with(example_inputs, torch)
    verdicts = Verdicts.of_user() if measure is None else Verdicts(None)
    wanted = frozenset(candidates)
    given = Given(model, args, kwargs, mode == "train", measure or in_turns, agree, verdicts, wanted)
    return choose(given, draw)


def draw(patch: Patch, form: Literal["text", "markdown", "json"]) -> str:
    """Draw what was done, the text as wide as the terminal."""
    import shutil

    from perfkit.report import optimization
    from perfkit.report.pen import Pen

    if form == "text":
        return optimization.draw_text(patch, Pen(shutil.get_terminal_size().columns, colour=False, unicode=True))
    return optimization.draw_markdown(patch) if form == "markdown" else optimization.draw_json(patch)


def _called_with(example_inputs: Any, torch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return positional and keyword arguments."""
    if torch.is_tensor(example_inputs):
        return (example_inputs,), {}
    if hasattr(example_inputs, "keys"):
        return (), {str(key): example_inputs[key] for key in example_inputs.keys()}  # noqa: SIM118  BatchEncoding
    return tuple(example_inputs), {}
