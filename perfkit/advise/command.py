"""The command that tests a finding: its change to the program, in the words of `perfkit what-if`."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from perfkit.model.prediction import (
    EVERYTHING,
    CaptureGraph,
    OverlapCollectives,
    OverlapCopies,
    OverlapLoader,
    RemoveHostTime,
    RemoveSync,
    ScaleBatch,
)

if TYPE_CHECKING:
    from perfkit.model.advice import Finding
    from perfkit.model.prediction import WhatIf, Which

__all__ = ["with_command"]


def with_command(finding: Finding, path: str) -> Finding:
    """Add the command that predicts what a finding is worth, where the command line can say it and nothing else has."""
    words = [options_of(change, finding) for change in finding.what_if]
    if finding.command or not words or not all(words):
        return finding
    options = " ".join(shlex.quote(word) for some in words for word in some)
    return finding._replace(command=f"perfkit what-if {shlex.quote(path) if path else 'TRACE'} {options}")


def options_of(change: WhatIf, finding: Finding) -> tuple[str, ...]:
    """Return the options that ask for a change, or none where there are no such ones."""
    match change:
        case OverlapLoader():
            return ("--overlap", "loader")
        case OverlapCopies() | OverlapCollectives():
            return ("--overlap", "copies" if isinstance(change, OverlapCopies) else "collectives")
        case RemoveSync():
            return ("--remove", f"sync{named(change.which)}{f'@{finding.where}' if change.which.where else ''}")
        case RemoveHostTime():
            return ("--remove", f"{change.cause}{named(change.which)}")
        case CaptureGraph(which=which) if which == EVERYTHING:
            return ("--capture", "*")
        case ScaleBatch():
            return ("--batch", f"{change.factor:g}")
    return ()


def named(which: Which) -> str:
    """Return the name that a change is about, as ``:NAME``, where it is about one."""
    return f":{which.names[0]}" if len(which.names) == 1 else ""
