"""A model runs, and a frame is kept of each call of a module."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from perfkit.fix.frames import Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["record"]


def record(model: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Frame]:
    """Run a model, and return a frame for each call of a module, in the order in which they ended."""
    frames: list[Frame] = []
    stack: list[Frame] = []
    names = {id(module): name for name, module in model.named_modules()}
    original = torch.nn.Module.__call__

    class Recorder(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            del types
            result = function(*args, **(kwargs or {}))
            if stack:
                stack[-1].note(function, args, kwargs or {}, result)
            return result

    def call(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        if id(module) not in names:  # made on the way, such as a loss: what it calls, its caller calls
            return original(module, *args, **kwargs)
        frame = Frame(module, names[id(module)], args, kwargs)
        stack.append(frame)
        try:
            result = original(module, *args, **kwargs)
            frame.close(result)
        finally:
            stack.pop()
        frames.append(frame)
        if stack:
            stack[-1].note_module(frame, args, kwargs, result)
        return result

    with _replaced(call), Recorder():
        call(model, *args, **kwargs)
    if any(frame.escaped() for frame in frames):
        gc.collect()
    for frame in frames:
        if not frame.obstacle and frame.escaped():
            frame.obstacle = "shares a tensor that lives on after the call"
        frame.made = []
    return frames


@contextlib.contextmanager
def _replaced(call: Callable[..., Any]) -> Iterator[None]:
    original = torch.nn.Module.__call__
    torch.nn.Module.__call__ = call
    try:
        yield
    finally:
        torch.nn.Module.__call__ = original
