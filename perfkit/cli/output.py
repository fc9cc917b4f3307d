"""Where a report goes: standard output, or a file that is replaced as a whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from perfkit.errors import UsageError

__all__ = ["refuse_overwriting", "write_file"]


def refuse_overwriting(output: str, source: str) -> None:
    """Make sure that the report does not replace what it is about.

    Args:
        output: The file to write.
        source: The trace that is read, or a folder of traces.

    Raises:
        UsageError: They are the same file, or the output is an existing trace in the folder.
    """
    target, origin = Path(output), Path(source)
    if not target.exists() or not origin.exists():
        return
    if origin.is_dir():
        if target.is_file() and target.resolve().is_relative_to(origin.resolve()) and _is_trace(target):
            message = f"{output} is one of the traces in {source}: choose another name for --output"
            raise UsageError(message)
    elif target.samefile(origin):
        message = f"{output} is the trace itself: choose another name for --output"
        raise UsageError(message)


def write_file(output: str, text: str) -> None:
    """Write a report in UTF-8; the file appears, or is replaced, only once all of it is on disk.

    Args:
        output: A file, or something else that can be written to, such as a pipe or ``/dev/stderr``.
        text: What to write.

    Raises:
        UsageError: It cannot be written.
    """
    data = text.encode("utf-8", "replace")
    path = Path(output).resolve()
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
        else:
            _replace(path, data)
    except OSError as error:
        message = f"{output} cannot be written: {error.strerror or error}"
        raise UsageError(message) from error


def _replace(path: Path, data: bytes) -> None:
    """Write beside the file and move it into place."""
    beside = path.with_name(f".{path.name[:64]}.{secrets.token_hex(4)}")
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            beside.chmod(path.stat().st_mode & 0o777)
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def _is_trace(path: Path) -> bool:
    """Tell whether a file is a trace."""
    from perfkit.errors import PerfkitError
    from perfkit.ingest import find

    try:
        return bool(find(path))
    except PerfkitError:
        return False
