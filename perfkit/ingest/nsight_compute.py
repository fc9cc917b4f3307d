"""Reports of Nsight Compute (``.ncu-rep``), by NVIDIA's own library in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final

from perfkit.errors import MissingExtraError, UnreadableTraceError
from perfkit.ingest import _nsight_compute_child as child
from perfkit.ingest.defects import DefectList
from perfkit.ingest.kernel_metrics import make_profile, make_rule
from perfkit.model.kernel_profile import KernelReport
from perfkit.model.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.ingest.source import Content
    from perfkit.model.kernel_profile import KernelProfile

__all__ = ["FORMAT", "read_kernels"]

FORMAT: Final = "nsight-compute"

LONGEST_S: Final = 600


def read_kernels(content: Content, progress: Callable[[int, int | None], None] | None) -> KernelReport:
    """Read a report, as `perfkit.ingest.formats.KernelReader` has it."""
    label = content.source.label
    with content.on_disk(".ncu-rep") as path:
        lines, status, said = run(str(Path(path).absolute()))
    if progress is not None:
        progress(content.source.read_bytes, content.source.size_bytes)
    if status == child.NOT_INSTALLED:
        raise MissingExtraError(f"{label} is a report of Nsight Compute: reading it", "nsight-compute")
    kernels = [kernel for number, line in enumerate(lines) if (kernel := profile(label, number, line)) is not None]
    if not kernels:
        reason = said.strip().splitlines()[-1][:200] if said.strip() else f"its reader ends with status {status}"
        message = (
            f"{label} cannot be read as a report of Nsight Compute: {reason}. Copy it again, or export it where it was "
            f"recorded with `ncu --import {PurePath(label).name} --csv --page raw`"
        )
        raise UnreadableTraceError(message)
    defects = DefectList()
    for kind, offset in content.source.defects:
        defects.add(kind, 1, offset)
    if status != 0:
        defects.add("truncated", 1, detail=f"kernel {len(kernels)}")
    return KernelReport(label, FORMAT, Table(kernels), defects.sorted())


def run(path: str) -> tuple[list[str], int, str]:
    """Run the reader, and return the lines that it printed, its exit status and what it complained of."""
    command = [sys.executable, "-I", child.__file__, path]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=LONGEST_S)
    except subprocess.TimeoutExpired as late:
        printed = late.stdout.decode("utf-8", "replace") if late.stdout else ""
        return printed.splitlines(), -1, f"it took more than {LONGEST_S} s"
    out, said = (stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
    return out.splitlines(), done.returncode, said


def profile(label: str, number: int, line: str) -> KernelProfile | None:
    """Make a profile of a line; one that the reader did not finish is none."""
    try:
        found: dict[str, Any] = json.loads(line)
        metrics = {name: (value, unit) for name, (value, unit) in found["metrics"].items()}
        return make_profile(label, number, found["name"], metrics, map(make_rule, found["rules"]))
    except (ValueError, KeyError, TypeError):
        return None
