"""Where a report goes: standard output, or a file that is replaced as a whole or not at all."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

STANDARD: Final = "-"
"""What stands for standard input, or output, in place of a file."""

__all__ = [
    "STANDARD",
    "abandon_standard_output",
    "deliver",
    "refuse_overwriting",
    "write_file",
    "write_standard_output",
]


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


def deliver(draw: Callable[[TextIO | None], str], form: str, file: str | None) -> None:
    """Write a report to a file, or to standard output if there is none.

    Args:
        draw: Draws it for a stream, or for a file if there is none.
        form: Its format: on standard output, text is in the encoding of that, everything else in UTF-8.
        file: The file.

    Raises:
        UsageError: It cannot be written.
    """
    if file is not None:
        write_file(file, draw(None))
    else:
        encoding = sys.stdout.encoding if form == "text" or sys.stdout.isatty() else "utf-8"
        write_standard_output(draw(sys.stdout), encoding)


def write_standard_output(text: str | bytes, encoding: str = "utf-8") -> None:
    """Write a report to standard output.

    Args:
        text: What to write.
        encoding: How to write text; what it cannot hold is written as a backslash escape.

    Raises:
        UsageError: It cannot be written: a disk is full. A reader that went away is a BrokenPipeError.
    """
    data = text.encode(encoding, "backslashreplace") if isinstance(text, str) else text
    try:
        if isinstance(text, str) and sys.stdout.isatty():
            click.echo(data.decode(encoding), nl=False, color=True)
        else:
            sys.stdout.buffer.write(data)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon_standard_output()
        message = f"standard output cannot be written: {error.strerror or error}"
        raise UsageError(message) from error


def abandon_standard_output() -> None:
    """Let what is still buffered go nowhere, lest it fails again when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def write_file(output: str, text: str | bytes) -> None:
    """Write a report in UTF-8; the file appears, or is replaced, only once all of it is on disk.

    Args:
        output: A file, or something else that can be written to, such as a pipe or ``/dev/stderr``.
        text: What to write.

    Raises:
        UsageError: It cannot be written.
    """
    data = text.encode("utf-8", "replace") if isinstance(text, str) else text
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
    beside = path.with_name(f".{path.name[:64]}.{os.urandom(4).hex()}")
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
        return not find(path)[0].problem
    except PerfkitError:
        return False
