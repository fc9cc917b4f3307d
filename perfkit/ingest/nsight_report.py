"""Reports of Nsight Systems as it writes them (``.nsys-rep``): exported by the ``nsys`` of this machine, then read.

How a report is laid out is not documented, and changes; ``nsys export`` is the supported way in. It writes into a
temporary folder, so that the folder of the report stays as it was.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from perfkit.errors import UnreadableTraceError
from perfkit.ingest.nsight_systems import read_database

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perfkit.ingest.source import Content
    from perfkit.model.columns import Column
    from perfkit.model.trace import Trace

    Progress = Callable[[int, int | None], None]

__all__ = ["find_nsys", "read_trace"]

_PLACES: Final = (
    "/opt/nvidia/nsight-systems*/*/bin/nsys",
    "/opt/nvidia/nsight-systems*/bin/nsys",
    "/usr/local/cuda*/bin/nsys",
)
"""Where the installers of Nsight Systems and of CUDA put it, without a word in PATH."""

_LOOK_S: Final = 0.1
_LONGEST_REASON: Final = 300


def read_trace(content: Content, columns: Sequence[Column], progress: Progress | None) -> Trace:
    """Export a report and read the export, as `perfkit.ingest.formats.TraceReader` has it."""
    label, path = content.source.label, content.source.path
    nsys = find_nsys()
    if nsys is None:
        raise _without_nsys(label, path)
    with tempfile.TemporaryDirectory(prefix="perfkit-") as folder, content.on_disk(".nsys-rep") as report:
        exported = Path(folder, "report.sqlite")
        _export(nsys, report, exported, label, progress)
        return read_database(str(exported), label, columns, progress, compression=content.source.defects)


def find_nsys() -> str | None:
    """Return the path of ``nsys``: that of PATH, or else the newest of those in the usual places."""
    on_path = shutil.which("nsys")
    if on_path is not None:
        return on_path
    import glob

    paths = [path for place in _PLACES for path in glob.glob(place)]  # noqa: PTH207
    found = [path for path in paths if Path(path).is_file() and os.access(path, os.X_OK)]
    return max(found, key=lambda path: [int(part) for part in re.findall(r"\d+", path)], default=None)


def _export(nsys: str, report: str, exported: Path, label: str, progress: Progress | None) -> None:
    """Run ``nsys export`` to its end; an interruption ends it too.

    Raises:
        UnreadableTraceError: It does not start, fails, or leaves no export.
    """
    command = [nsys, "export", "--type", "sqlite", "--output", str(exported), os.path.abspath(report)]  # noqa: PTH100
    with tempfile.TemporaryFile() as said:
        try:
            with subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, cwd=exported.parent
            ) as process:
                try:
                    while _runs(process):
                        if progress is not None and exported.exists():
                            progress(exported.stat().st_size, None)
                finally:
                    process.kill()
        except OSError as error:
            message = f"{label} needs {nsys}, which does not start: {error.strerror or error}"
            raise UnreadableTraceError(message) from error
        if process.returncode != 0 or not exported.exists():
            said.seek(0)
            raise _failed(label, nsys, process.returncode, said.read())


def _runs(process: subprocess.Popen[bytes]) -> bool:
    """Wait a little, and tell whether it still runs."""
    try:
        process.wait(_LOOK_S)
    except subprocess.TimeoutExpired:
        return True
    return False


def _failed(label: str, nsys: str, status: int, said: bytes) -> UnreadableTraceError:
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    reason = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "")
    told = f" and says: {reason[:_LONGEST_REASON]}" if reason else ""
    message = (
        f"{label} cannot be exported: `{nsys} export` ends with status {status}{told}. "
        f"A report is read only by an nsys at least as new as the one that wrote it: export it where it was recorded, "
        f"with `{_command(label)}`, and give the .sqlite file"
    )
    return UnreadableTraceError(message)


def _without_nsys(label: str, path: str | None) -> UnreadableTraceError:
    if path is not None and _exported_name(path).is_file():
        message = (
            f"{label} is a report of Nsight Systems, which only its nsys opens: give {_exported_name(path)} instead"
        )
        return UnreadableTraceError(message)
    message = (
        f"{label} is a report of Nsight Systems, which only its nsys opens, and this machine has none in PATH or "
        f"/opt/nvidia: where it was recorded, run `{_command(label)}`, and give the .sqlite file. "
        f"(Or install the command line of Nsight Systems here: https://developer.nvidia.com/nsight-systems)"
    )
    return UnreadableTraceError(message)


def _exported_name(report: str) -> Path:
    """Return where ``nsys export`` puts what it makes of a report, unless it is told."""
    return Path(report).with_suffix(".sqlite")


def _command(label: str) -> str:
    name = re.sub(r"\.(?:gz|zst)\Z", "", Path(label).name, flags=re.IGNORECASE)
    return f"nsys export --type sqlite --output {shlex.quote(_exported_name(name).name)} {shlex.quote(name)}"
