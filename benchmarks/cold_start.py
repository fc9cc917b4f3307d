"""How long the command line takes from a cold shell, in turns with bare interpreters."""

from __future__ import annotations

import gzip
import subprocess
import time
from typing import TYPE_CHECKING, Final

from benchmarks.rounds import Score

if TYPE_CHECKING:
    from pathlib import Path

HEAVY: Final = ("numpy", "pandas")


def cold_starts(python: Path, traces: dict[str, Path], rounds: int) -> dict[str, Score]:
    """Time the commands, all of them once a round.

    Args:
        python: The interpreter of an environment that perfkit is installed in.
        traces: Labels and traces to diagnose.
        rounds: How many times.
    """
    perfkit = python.with_name("perfkit")
    commands: dict[str, list[str | Path]] = {
        "python -c pass": [python, "-c", "pass"],
        "python -c 'import numpy'": [python, "-c", "import numpy"],
        "perfkit --help": [perfkit, "--help"],
        **{f"perfkit diagnose, {label}": [perfkit, "diagnose", path] for label, path in traces.items()},
    }
    scores = {name: Score() for name in commands}
    for at in range(-2, rounds):  # two rounds more, which fill the caches of the disk and of bytecode
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=True)
            if at >= 0:
                scores[name].samples[at] = {"seconds": round(time.perf_counter() - start, 6)}
    return scores


def heavy_imports(python: Path) -> list[str]:
    """Return which heavy packages `perfkit --help` imports."""
    command: list[str | Path] = [python, "-X", "importtime", python.with_name("perfkit"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    return sorted(imported.intersection(HEAVY))


def smallest(folder: Path, size: int) -> tuple[str, Path]:
    """Return label and path of the smallest sample trace whose JSON has at least `size` bytes."""
    sizes = {path: len(gzip.decompress(path.read_bytes())) for path in sorted(folder.glob("*.json.gz"))}
    path = min(sizes, key=lambda path: (sizes[path] < size, sizes[path]))
    return f"{sizes[path] / 1e6:.1f} MB of JSON", path
