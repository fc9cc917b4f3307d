"""The exceptions that perfkit raises on purpose.

    PerfkitError
    ├── UnreadableTraceError   the file cannot be opened, or nothing of it can be read
    ├── UnknownFormatError     the file is readable, but not a trace of a format that perfkit reads
    ├── MissingExtraError      the call needs a package that is not installed
    └── UsageError             the request itself cannot be met: an unknown rank, a column that does not exist
        └── NoTimelineError    the file holds measured kernels, and no timeline

The content of a trace raises none of them: what is wrong inside a trace is a defect of the `Trace` that is returned.
The command line catches `PerfkitError` in one place, prints its message and ends with its `exit_code`.
"""

from __future__ import annotations

from typing import ClassVar


class PerfkitError(Exception):
    """Base of every exception that perfkit raises on purpose.

    The message is one line. It names what was given, says what is wrong with it, and then what to do next. Line breaks
    and control characters, which a hostile file name may hold, are shown escaped.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))


class UnreadableTraceError(PerfkitError):
    """The file cannot be opened or decompressed, is empty, or breaks off before its first event."""


class UnknownFormatError(PerfkitError):
    """The file is not a trace that perfkit reads. The message says what it looks like, and which formats are read."""


class MissingExtraError(PerfkitError, ImportError):
    """A package that this call needs is not installed. The message names the extra that brings it."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs packages that are not installed: run `pip install 'perfkit[{extra}]'`")


class UsageError(PerfkitError):
    """The request cannot be met by this trace. The message lists what can be asked for."""


class NoTimelineError(UsageError):
    """The file holds measured kernels, and no timeline."""
