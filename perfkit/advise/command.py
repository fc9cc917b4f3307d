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
    found: tuple[str, ...] = ()
    match change:
        case OverlapLoader():
            found = ("--overlap", "loader")
        case OverlapCopies() | OverlapCollectives():
            found = ("--overlap", "copies" if isinstance(change, OverlapCopies) else "collectives")
        case RemoveSync():
            place = f"@{finding.where}" if change.which.where else ""
            found = ("--remove", f"sync{named(change.which)}{place}")
        case RemoveHostTime():
            found = ("--remove", f"{change.cause}{named(change.which)}")
        case CaptureGraph(which=which) if which == EVERYTHING:
            found = ("--capture", "*")
        case ScaleBatch():
            found = ("--batch", f"{change.factor:g}")
    return found


def named(which: Which) -> str:
    """Return the name that a change is about, as ``:NAME``, where it is about one."""
    return f":{which.names[0]}" if len(which.names) == 1 else ""
