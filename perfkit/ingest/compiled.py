"""The compiled module, where there is one and it is wanted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["compiled"]


def compiled() -> ModuleType | None:
    """Import the compiled module; None where its twins in Python are to be used. PERFKIT_SCANNER forces either.

    Raises:
        UsageError: PERFKIT_SCANNER is none of ``native`` and ``python``, or asks for what is not installed.
    """
    choice = os.environ.get("PERFKIT_SCANNER", "")
    if choice not in ("", "native", "python"):
        message = f"PERFKIT_SCANNER is {choice!r}: it can be native or python"
        raise UsageError(message)
    if choice == "python":
        return None
    try:
        from perfkit.ingest import _scan
    except ImportError:
        if choice == "native":
            message = "PERFKIT_SCANNER is native, but perfkit was installed without its native scanner"
            raise UsageError(message) from None
        return None
    return _scan
