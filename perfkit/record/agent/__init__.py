"""What runs inside a recorded program: waits for torch, watches for steps, and profiles a few of them.

It is loaded by its place, under another name, into a Python that need not have perfkit installed. So its modules name
each other relatively, use the standard library and torch only, and nothing newer than Python 3.9.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

__all__ = ["arm"]


def arm(plan: str) -> None:
    """Record this process as planned, once it has imported torch.

    Args:
        plan: The text of a `perfkit.record.plan.Plan`.
    """
    if "torch" in sys.modules:
        _start(plan)
    else:
        sys.meta_path.insert(0, _AfterTorch(plan))


def _start(plan: str) -> None:
    from .watch import start

    start(plan)


class _AfterTorch(importlib.abc.MetaPathFinder):
    """Steps aside for every import; that of torch is followed by the start of the recorder."""

    def __init__(self, plan: str) -> None:
        self.plan = plan

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find torch as the others would, and wrap its loader."""
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            _follow(spec.loader, self.plan)
        return spec


def _follow(loader: Any, plan: str) -> None:
    """Have a loader start the recorder when its module has been executed."""
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        try:
            _start(plan)
        except Exception as error:  # noqa: BLE001  the program comes first
            sys.stderr.write(f"perfkit: this process is not recorded: {type(error).__name__}: {error}\n")

    loader.exec_module = exec_module
