"""What runs inside a recorded program: waits for torch, watches for steps, and profiles a few of them.

It is loaded by its place, under another name, into a Python that need not have perfkit installed. So its modules name
each other relatively, use the standard library and torch only, and nothing newer than Python 3.9.
"""

from __future__ import annotations

import atexit
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

__all__ = ["arm", "cancel_at_exit", "mark_requests"]


def arm(plan: str) -> None:
    """Record this process as planned, once it has imported torch.

    Args:
        plan: The text of a `perfkit.record.plan.Plan`.
    """

    def start() -> None:
        from .watch import start

        start(plan)

    mark_requests()
    after("torch", start)


def mark_requests() -> None:
    """Mark the requests that uvicorn serves in this process, once it has imported that."""

    def mark() -> None:
        from .service import mark_applications

        mark_applications()

    after("uvicorn.config", mark)


def cancel_at_exit() -> None:
    """Have the process end well though somebody outside has torch record it."""

    def register() -> None:
        from .window import cancel

        atexit.register(cancel)

    after("torch", register)


def after(name: str, action: Callable[[], None]) -> None:
    """Do something once a module has been imported, at once if it is there already."""
    if name in sys.modules:
        action()
    else:
        sys.meta_path.insert(0, _After(name, action))


class _After(importlib.abc.MetaPathFinder):
    """Steps aside for every import; that of one module is followed by an action."""

    def __init__(self, module: str, action: Callable[[], None]) -> None:
        self.module = module
        self.action = action

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find the module as the others would, and wrap its loader."""
        if name != self.module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            _follow(spec.loader, self.action)
        return spec


def _follow(loader: Any, action: Callable[[], None]) -> None:
    """Have a loader act when its module has been executed."""
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        try:
            action()
        except Exception as error:  # noqa: BLE001  the program comes first
            sys.stderr.write(f"perfkit: this process is not recorded: {type(error).__name__}: {error}\n")

    loader.exec_module = exec_module
