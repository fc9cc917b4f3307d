"""Marks the requests of every application that uvicorn serves, with no change to the service."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import Any

__all__ = ["mark_applications", "watch_requests"]

MARKS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "serve", "marks.py")
STEP = "perfkit.request"

ON_ANSWER: list[Any] = []
"""Called with name, start and end (ns since 1970) of each request that was answered."""


def mark_applications() -> None:
    """Have uvicorn serve each application within marks; where an application marks its requests, it goes on to."""
    config: Any = sys.modules["uvicorn.config"].Config
    load = config.load

    def loaded(self: Any) -> None:
        load(self)
        self.loaded_app = _marks().Marked(self.loaded_app, _answered)

    config.load = loaded


def watch_requests(told: Any) -> Any:
    """Tell of each request that was answered; returns what undoes that."""
    ON_ANSWER.append(told)
    return lambda: ON_ANSWER.remove(told)


def _answered(name: str, start_ns: int, end_ns: int) -> None:
    """Tell whoever asked, and count a step for a daemon that was asked to record some."""
    for told in ON_ANSWER:
        told(name, start_ns, end_ns)
    torch = sys.modules.get("torch")
    if torch is not None and "KINETO_USE_DAEMON" in os.environ:
        torch.autograd.profiler.KinetoStepTracker.increment_step(STEP)


def _marks() -> Any:
    """Return perfkit's marks: those of the program, if it has perfkit, so that its own marks know the request."""
    try:
        return importlib.import_module("perfkit.serve.marks")
    except ImportError:
        spec: Any = importlib.util.spec_from_file_location("perfkit_marks", MARKS)
        marks = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(marks)
        return marks
