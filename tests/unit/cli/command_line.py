"""Runs the command line as users do: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TRACES = Path(__file__).parents[3] / "traces"
COMMAND = (sys.executable, "-m", "perfkit.cli")


def trace(name: str = "loader_bound_cpu") -> Path:
    """The path of a sample trace."""
    return TRACES / f"{name}.json.gz"


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what changes how text is drawn."""
    drop = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "PYTHONIOENCODING"}
    kept = {key: value for key, value in os.environ.items() if key not in drop}
    return kept | {"PYTHONUTF8": "1", "TERM": "xterm-256color"} | changes


def run(*arguments: str | Path, stdin: bytes = b"", **changes: str) -> subprocess.CompletedProcess[bytes]:
    """Run perfkit to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=300,
        env=environment(**changes),
    )


def fail(*arguments: str | Path, stdin: bytes = b"") -> str:
    """Run perfkit, expect a one-line error and exit code 2, and return the line without what all of them begin with."""
    done = run(*arguments, stdin=stdin)
    assert done.returncode == 2, done
    assert done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("perfkit: error: ")
    return line.removeprefix("perfkit: error: ")
