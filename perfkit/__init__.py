"""perfkit: point it at a profile of a slow PyTorch program, and it says where the time goes.

    import perfkit

    diagnosis = perfkit.diagnose("trace.json.gz")
    difference = perfkit.diff("before.json.gz", "after.json.gz")
    forecast = perfkit.what_if("trace.json.gz", OverlapLoader())    # of perfkit.model.prediction
    trace = perfkit.load("trace.json.gz")
    optimized = perfkit.optimize(model, batch, mode="train")         # faster operators, where they are proved
    with perfkit.profile(): ...                                     # records, and diagnoses

Importing this package is cheap: its functions, and with them numpy, are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from perfkit.errors import (
    MissingExtraError,
    NoTimelineError,
    PerfkitError,
    UnknownFormatError,
    UnreadableTraceError,
    UsageError,
)

if TYPE_CHECKING:
    from perfkit.ingest import load
    from perfkit.pipeline.diagnose import diagnose
    from perfkit.pipeline.diff import diff
    from perfkit.pipeline.optimize import optimize
    from perfkit.pipeline.profile import profile
    from perfkit.pipeline.what_if import what_if
    from perfkit.serve.marks import instrument, request, request_id

__all__ = [
    "MissingExtraError",
    "NoTimelineError",
    "PerfkitError",
    "UnknownFormatError",
    "UnreadableTraceError",
    "UsageError",
    "__version__",
    "diagnose",
    "diff",
    "instrument",
    "load",
    "optimize",
    "profile",
    "request",
    "request_id",
    "what_if",
]

__version__ = "0.1.0"

_MODULE_OF = {
    "diagnose": "perfkit.pipeline.diagnose",
    "diff": "perfkit.pipeline.diff",
    "instrument": "perfkit.serve.marks",
    "load": "perfkit.ingest",
    "optimize": "perfkit.pipeline.optimize",
    "profile": "perfkit.pipeline.profile",
    "request": "perfkit.serve.marks",
    "request_id": "perfkit.serve.marks",
    "what_if": "perfkit.pipeline.what_if",
}


def __getattr__(name: str) -> object:
    """Import the module that holds `name` on its first use (PEP 562)."""
    if name not in _MODULE_OF:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value: object = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name the public members, the ones not yet imported included."""
    return sorted({*globals(), *__all__})
