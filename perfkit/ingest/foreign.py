"""What a file is. One that is no trace is answered with what its first bytes say it is, and what to do instead.

Nothing here opens such a file further: a pickle is named, never loaded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from perfkit.errors import UnknownFormatError, UnreadableTraceError
from perfkit.ingest.formats import FORMATS_READ, NSIGHT_REPORT, format_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perfkit.ingest.formats import Format
    from perfkit.ingest.source import Source

__all__ = ["HEAD_BYTES", "REPORT_EXTENSIONS", "nothing_read", "recognise", "unknown_content", "unknown_json"]

HEAD_BYTES: Final = 4096
"""How much of a file is looked at."""

_RECORD: Final = "record one with torch.profiler and its export_chrome_trace"
_UNPACK: Final = "unpack it, and give the trace inside"

# A pattern of the first bytes, what such a file is, and what to do about it; the first match wins.
_SIGNATURES: Final = (
    (rb"version https://git-lfs\.github\.com/", "a git-LFS pointer, not the file itself", "run `git lfs pull`"),
    (rb"PK\x03\x04.*data\.pkl", "a PyTorch checkpoint, which holds weights and no trace", _RECORD),
    (rb"PK\x03\x04", "a zip archive", _UNPACK),
    (rb"\x80[\x02-\x05][\x00-\xff]", "a Python pickle, which perfkit never loads (loading runs code)", _RECORD),
    (rb"\x1f\x8b|\x28\xb5\x2f\xfd", "compressed twice", "decompress it once"),
    (rb"BZh[1-9]1AY&SY", "compressed with bzip2", "decompress it with `bunzip2`"),
    (rb"\xfd7zXZ\0", "compressed with xz", "decompress it with `unxz`"),
    (rb"\x04\x22\x4d\x18", "compressed with lz4", "decompress it with `lz4 -d`"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (rb".{257}ustar", "a tar archive", _UNPACK),
    (rb".{8,32}brain\.Event:\d", "a TensorBoard event file", "give the *.pt.trace.json file beside it"),
    (rb"PAR1", "a Parquet table", _RECORD),
    (rb"\x7fELF|MZ\x90\x00", "an executable", _RECORD),
    (rb"%PDF-|\x89PNG|\xff\xd8\xff|GIF8", "a document or picture", _RECORD),
    (rb"\xff\xfe|\xfe\xff", "UTF-16 text", "convert it with `iconv -f UTF-16 -t UTF-8`"),
    (
        rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html|head|body)",
        "an HTML page, as a server sends in place of a download",
        "download the trace again",
    ),
    (rb"(?:\xef\xbb\xbf)?\s*<\?xml", "XML", _RECORD),
    (rb"==PROF==|==WARNING==|==ERROR==", "a log of Nsight Compute", _RECORD),
    (rb"\0+\Z", "nothing but zero bytes, as an interrupted copy leaves", "copy or record it again"),
    (rb"[^\n\0]*?[\w\"']\s*,[^\n,\0]*,[^\n\0]*(?:\n|\Z)", "a table (CSV)", _RECORD),
    (rb"[\t\n\r\x20-\x7e]+\Z", "text that is not JSON", _RECORD),
)

REPORT_EXTENSIONS: Final = (".nsys-rep", ".qdrep")
"""How Nsight Systems names its reports, today's and those before 2021."""

_NO_REPORT: Final = re.compile(rb"(?:[^\0-\x08\x0e-\x1f]+|\0+)\Z")
"""What bears the name of a report and is none: text, such as a pointer of git-LFS, or nothing but zeros."""

_COMPRESSED: Final = re.compile(r"\.(?:gz|zst)\Z", re.IGNORECASE)

# A top-level key that gives away what a JSON file is.
_JSON_KINDS: Final = (
    (b"nodes", "a PyTorch execution trace, which holds no times"),
    (b"segments", "a memory snapshot"),
    (b"nbformat", "a notebook"),
    (b"profiles", "a speedscope profile"),
)

_KEYS_SHOWN: Final = 6


def nothing_read(source: Source) -> UnreadableTraceError:
    """Return the error for a file that gave no bytes."""
    if not source.read_bytes:
        what = "is empty: record the trace again, or copy it again"
    elif source.defects:
        reason = source.failure or "it breaks off at the start"
        what = f"cannot be decompressed as {source.compression} ({reason}): copy it again"
    else:
        what = f"holds nothing: its {source.compression} data decompresses to 0 bytes"
    return UnreadableTraceError(f"{source.label} {what}")


def recognise(source: Source, head: bytes) -> Format:
    """Tell the format of a file by its first bytes; only of a report of Nsight Systems nothing but the name tells.

    Raises:
        UnreadableTraceError: Nothing of it could be read.
        UnknownFormatError: perfkit does not read such files; the message says what it looks like.
    """
    if not head:
        raise nothing_read(source)
    found = format_of(head)
    if found is not None:
        return found
    if _COMPRESSED.sub("", source.label).lower().endswith(REPORT_EXTENSIONS) and _NO_REPORT.match(head) is None:
        return NSIGHT_REPORT
    raise unknown_content(source.label, head)


def unknown_content(label: str, head: bytes) -> UnknownFormatError:
    """Return the error for a file that does not begin like JSON, by its first `HEAD_BYTES`."""
    for pattern, what, advice in _SIGNATURES:
        if re.match(pattern, head[:HEAD_BYTES], re.DOTALL | re.IGNORECASE):
            return _error(label, what, advice)
    return _error(label, "text or data of an unknown kind", _RECORD)


def unknown_json(label: str, top: str, keys: Iterable[bytes]) -> UnknownFormatError:
    """Return the error for what begins like JSON but has no trace events; `top` is ``object`` or ``list``."""
    known = sorted(keys)
    if top == "list":
        return _error(label, "a JSON list whose elements are not trace events", _RECORD)
    if b"traceEvents" in known:
        return _error(label, 'a JSON object whose "traceEvents" is not a list', _RECORD)
    for key, what in _JSON_KINDS:
        if key in known:
            return _error(label, what, _RECORD)
    shown = ", ".join(repr(key[:40].decode("utf-8", "replace")) for key in known[:_KEYS_SHOWN])
    more = f" and {len(known) - _KEYS_SHOWN:,} more" if len(known) > _KEYS_SHOWN else ""
    what = (
        f'a JSON object without "traceEvents": its keys are {shown}{more}'
        if known
        else "an empty JSON object, or something else in braces"
    )
    return _error(label, what, _RECORD)


def _error(label: str, what: str, advice: str) -> UnknownFormatError:
    return UnknownFormatError(f"{label} is not a trace but {what}: {advice}. {FORMATS_READ}.")
