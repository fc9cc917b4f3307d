"""Makes a failing document smaller while it keeps failing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def shrink(document: bytes, fails: Callable[[bytes], bool], seconds: float) -> bytes:
    """The smallest document found in `seconds` by leaving out ever shorter pieces; the document itself if it passes."""
    deadline = time.monotonic() + seconds
    if not fails(document):
        return document
    length = max(len(document) // 2, 1)
    while length:
        smaller = _leave_out(document, length, fails, deadline)
        if smaller == document:
            length //= 2
        document = smaller
    return document


def _leave_out(document: bytes, length: int, fails: Callable[[bytes], bool], deadline: float) -> bytes:
    start = 0
    while start < len(document) and time.monotonic() < deadline:
        smaller = document[:start] + document[start + length :]
        if fails(smaller):
            document = smaller
        else:
            start += length
    return document
