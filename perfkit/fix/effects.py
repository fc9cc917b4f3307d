"""What a forward leaves behind, beside what it returns: for that a graph cannot stand.

Seen are attributes of the module and lists, dicts and sets in them, globals and closures that its code names, and
tensors that live on after the call. What a function that it calls does to other objects of Python is not seen.
"""

from __future__ import annotations

import inspect
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from perfkit.fix.signature import SIMPLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

    import torch

__all__ = ["Before"]

CONTAINERS: Final = (list, dict, set, deque)


class Before:
    """What a module's forward could change, as it was before a call."""

    def __init__(self, owner: torch.nn.Module) -> None:
        self._owner = owner
        self._attributes = {name: (value, _extent(value)) for name, value in vars(owner).items()}
        self._others = dict(_named_in(owner))

    def changed(self) -> str:
        """Say what is another now; empty if nothing is."""
        now = vars(self._owner)
        if now.keys() != self._attributes.keys() or any(
            now[name] is not value or _extent(value) != extent for name, (value, extent) in self._attributes.items()
        ):
            return "changes its own attributes"
        others = dict(_named_in(self._owner))
        for name, (value, extent) in self._others.items():
            if name not in others or others[name][0] is not value or others[name][1] != extent:
                return f"changes what is outside of it ({name})"
        return ""


def _extent(value: Any) -> int:
    return len(value) if isinstance(value, CONTAINERS) else 0


def _named_in(owner: torch.nn.Module) -> Iterator[tuple[str, tuple[Any, int]]]:
    """Yield the globals and the closure's variables, simple ones and containers, that a forward names."""
    forward = inspect.unwrap(type(owner).forward)
    code = getattr(forward, "__code__", None)
    if code is None:
        return
    for name in {*_names(code)} & forward.__globals__.keys():
        value = forward.__globals__[name]
        if type(value) in SIMPLE or isinstance(value, CONTAINERS):
            yield name, (value, _extent(value))
    for name, cell in zip(code.co_freevars, forward.__closure__ or (), strict=False):
        try:
            value = cell.cell_contents
        except ValueError:
            continue
        if type(value) in SIMPLE or isinstance(value, CONTAINERS):
            yield name, (value, _extent(value))


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if inspect.iscode(constant):
            yield from _names(constant)
