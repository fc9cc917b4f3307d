"""The bytes of a file as a stream of decompressed chunks: gzip and zstd are told by their content, never by a name."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol

from perfkit.errors import UnreadableTraceError, UsageError
from perfkit.ingest.remote import is_url, open_url

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

__all__ = [
    "CHUNK_BYTES",
    "STANDARD_INPUT",
    "STANDARD_INPUT_LABEL",
    "Content",
    "Source",
    "Target",
    "ahead",
    "open_content",
    "open_source",
]

Target = str | os.PathLike[str] | BinaryIO

STANDARD_INPUT: Final = "-"
STANDARD_INPUT_LABEL: Final = "standard input"

CHUNK_BYTES: Final = 256 << 10
"""Size of a chunk: measured best of 64 KiB to 4 MiB, large beside an event and small beside a cache."""

_PIECE_BYTES: Final = 2048
"""Compressed bytes handed over at once: a decompressor that meets an error gives nothing of that call."""

_CHUNKS_AHEAD: Final = 8

_PROGRESS_S: Final = 0.1


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Codec:
    """A compression: how its streams begin, and how one of them is undone."""

    name: str
    begins: Callable[[bytes], bool]
    decompressor: Callable[[], _Decompressor]
    errors: tuple[type[Exception], ...]


_MAGIC_BYTES: Final = 4
"""Bytes that are enough to tell how a stream is compressed."""


def _is_gzip(head: bytes) -> bool:
    return head.startswith(b"\x1f\x8b")


def _is_zstd(head: bytes) -> bool:
    """Tell a zstd frame, or one of the skippable frames (RFC 8878, section 3.1.2) that parallel writers begin with."""
    return head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F)  # noqa: PLR2004


def _codec(head: bytes) -> _Codec | None:
    """Return the codec of a stream that begins with `head`; its library is imported only now."""
    if _is_gzip(head):
        return _gzip()
    if _is_zstd(head):
        zstd = _zstd()
        return _Codec("zstd", _is_zstd, zstd.ZstdDecompressor, (zstd.ZstdError, EOFError))
    return None


def _gzip() -> _Codec:
    """Return ISA-L's gzip, or, where that is not installed, zlib's, which takes some three times as long."""
    try:
        from isal import igzip_lib
    except ImportError:
        import zlib

        return _Codec("gzip", _is_gzip, lambda: zlib.decompressobj(zlib.MAX_WBITS + 16), (zlib.error, EOFError))
    failure: Any = igzip_lib.error  # an exception class that its stub declares as an instance
    return _Codec(
        "gzip", _is_gzip, lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), (failure, EOFError)
    )


def _zstd() -> Any:
    """Import zstd from where this Python has it."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


@dataclass(slots=True)
class Source:
    """An open file.

    Attributes:
        label: What to call it in messages.
        size_bytes: Its size as stored, or None where that cannot be known.
        path: Where it lies, or None if it is a stream.
        read_bytes: How much of that has been read so far.
        written_bytes: How many decompressed bytes that gave.
        compression: ``gzip``, ``zstd`` or empty, known after the first chunk.
        defects: What was wrong with the compression: kind and offset in the decompressed bytes.
        failure: What the library that decompresses said of it.
    """

    file: BinaryIO
    label: str
    size_bytes: int | None
    path: str | None = None
    read_bytes: int = 0
    written_bytes: int = 0
    compression: str = ""
    defects: list[tuple[str, int]] = field(default_factory=list)
    failure: str = ""

    def chunks(self, chunk_bytes: int = CHUNK_BYTES) -> Generator[bytes, None, None]:
        """Yield the decompressed bytes, in chunks of about this size; a broken stream ends early and leaves a defect.

        Raises:
            UnreadableTraceError: The operating system cannot read the file.
        """
        pending: list[bytes] = []
        size = 0
        for part in self._parts(chunk_bytes):
            self.written_bytes += len(part)
            pending.append(part)
            size += len(part)
            if size >= chunk_bytes:
                yield pending[0] if len(pending) == 1 else b"".join(pending)
                pending, size = [], 0
        if size:
            yield b"".join(pending)

    def _parts(self, chunk_bytes: int) -> Iterator[bytes]:
        head = b""
        while len(head) < _MAGIC_BYTES and (block := self._read(chunk_bytes)):
            head += block
        codec = _codec(head)
        if codec is not None:
            self.compression = codec.name
            yield from self._decompressed(codec, self._pieces(head, chunk_bytes))
            return
        while head:
            yield head
            head = self._read(chunk_bytes)

    def _read(self, size: int) -> bytes:
        try:
            block = self.file.read(size)
        except OSError as error:
            message = f"{self.label} cannot be read past byte {self.read_bytes:,}: {error.strerror or error}"
            raise UnreadableTraceError(message) from error
        if not isinstance(block, bytes):
            message = f"a file object must be opened in binary mode and give bytes, not {type(block).__name__}"
            raise TypeError(message)
        self.read_bytes += len(block)
        return block

    def _pieces(self, block: bytes, block_bytes: int) -> Iterator[bytes]:
        while block:
            for begin in range(0, len(block), _PIECE_BYTES):
                yield block[begin : begin + _PIECE_BYTES]
            block = self._read(block_bytes)

    def _decompressed(self, codec: _Codec, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield what the streams of one file give, one after the other; the first fault ends it."""
        stream: _Decompressor | None = None
        rest = b""
        for piece in pieces:
            rest += piece
            while rest:
                if stream is None:
                    rest = rest.lstrip(b"\0")  # archives pad with zeros
                    if len(rest) < _MAGIC_BYTES:
                        break
                    if not codec.begins(rest):
                        self._note("trailing_garbage")
                        return
                    stream = codec.decompressor()
                try:
                    yield stream.decompress(rest)
                except codec.errors as error:
                    self.failure = str(error)
                    self._note("corrupt_compression")
                    return
                rest, stream = (stream.unused_data, None) if stream.eof else (b"", stream)
        if stream is not None:
            self._note("truncated_compression")
        elif rest:
            self._note("trailing_garbage")

    def _note(self, kind: str) -> None:
        self.defects.append((kind, self.written_bytes))


@dataclass(frozen=True, slots=True)
class Content:
    """A file whose first bytes were read, to see what it is.

    Attributes:
        source: Where the bytes come from, and what was wrong with their compression.
        head: The first decompressed bytes, at most a few chunks; empty if there are none.
        rest: The chunks after them, made on a thread of their own.
    """

    source: Source
    head: bytes
    rest: Iterator[bytes]

    def chunks(self, progress: Callable[[int, int | None], None] | None = None) -> Iterator[bytes]:
        """Yield the head and all that follows, reporting progress some ten times a second."""
        yield self.head
        told = time.monotonic()
        for chunk in self.rest:
            yield chunk
            if progress is not None and time.monotonic() - told >= _PROGRESS_S:
                told = time.monotonic()
                progress(self.source.read_bytes, self.source.size_bytes)

    @contextmanager
    def on_disk(self, suffix: str) -> Generator[str, None, None]:
        """Give the path of the file itself, or of a temporary one with what a stream or compressed file holds.

        Args:
            suffix: How the name of a temporary file ends.

        Raises:
            UnreadableTraceError: It has to be unpacked, and there is no room for it.
        """
        source = self.source
        if source.path is not None and not source.compression:
            yield source.path
            return
        import shutil
        import tempfile

        with tempfile.NamedTemporaryFile(prefix="perfkit-", suffix=suffix) as file:
            try:
                for chunk in self.chunks():
                    file.write(chunk)
                file.flush()
            except OSError as error:
                folder = tempfile.gettempdir()
                message = (
                    f"{source.label} has to be unpacked into {folder}, which has "
                    f"{shutil.disk_usage(folder).free / 1e9:.1f} GB left: {error.strerror or error}. "
                    f"Unpack it elsewhere and give that file"
                )
                raise UnreadableTraceError(message) from error
            yield file.name


@contextmanager
def open_content(target: Target) -> Generator[Content, None, None]:
    """Open what `open_source` opens, and read its first chunk.

    Raises:
        UnreadableTraceError: The path cannot be opened or read.
        UsageError: Standard input is a terminal.
    """
    # A pipe may keep the thread that reads it waiting for ever.
    with open_source(target) as source, closing(ahead(source.chunks(), join=source.path is not None)) as chunks:
        yield Content(source, next(chunks, b""), chunks)


@contextmanager
def open_source(target: Target) -> Generator[Source, None, None]:
    """Open a path or URL, ``-`` for standard input, or take a binary file object, which stays open afterwards.

    Raises:
        MissingExtraError: It is a URL, and fsspec is not installed.
        UnreadableTraceError: The path cannot be opened.
        UsageError: Standard input is a terminal.
    """
    if not isinstance(target, (str, os.PathLike)):
        name = getattr(target, "name", None)
        yield Source(target, name if isinstance(name, str) else "the given stream", None)
        return
    if is_url(os.fspath(target)):
        file, size_bytes = open_url(os.fspath(target))
        with file:
            yield Source(file, os.fspath(target), size_bytes)
        return
    file, label = _open_path(target)
    with file:
        status = os.fstat(file.fileno())
        regular = S_ISREG(status.st_mode)
        path = os.fspath(target) if regular and target != STANDARD_INPUT else None
        yield Source(file, label, status.st_size if regular else None, path)


def _open_path(target: str | os.PathLike[str]) -> tuple[BinaryIO, str]:
    path = os.fspath(target)
    try:
        if path == STANDARD_INPUT:
            # Not sys.stdin.buffer: the interpreter cannot end while a thread holds the lock of a buffered reader.
            descriptor = sys.stdin.fileno()
            if os.isatty(descriptor):
                message = "standard input is a terminal: give a path, or pipe a trace in"
                raise UsageError(message)
            return open(descriptor, "rb", buffering=0, closefd=False), STANDARD_INPUT_LABEL
        return open(path, "rb", buffering=0), path  # noqa: PTH123  unbuffered
    except (OSError, ValueError, AttributeError) as error:  # a path with a NUL; no standard input at all
        message = f"{path or 'an empty path'} cannot be opened: {getattr(error, 'strerror', None) or error}"
        raise UnreadableTraceError(message) from error


def ahead(chunks: Iterable[bytes], *, join: bool = False) -> Generator[bytes, None, None]:
    """Yield the same chunks, made on a thread of their own, at most a few ahead of the reader.

    An exception of the thread is raised here. A reader that stops early ends the thread at its next chunk, and with
    ``join`` waits for that: who closes the file under the thread has it read the next file of the same descriptor.
    """
    ready: queue.Queue[bytes | BaseException | None] = queue.Queue(_CHUNKS_AHEAD)
    stopped = threading.Event()

    def produce() -> None:
        end: BaseException | None = None
        try:
            with closing(iter(chunks)) as stream:  # type: ignore[type-var]
                for chunk in stream:
                    ready.put(chunk)
                    if stopped.is_set():
                        return
        except BaseException as error:  # noqa: BLE001  raised again by the reader
            end = error
        ready.put(end)

    thread = threading.Thread(target=produce, name="perfkit-decompress", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        while not ready.empty():  # makes room for the one chunk that the thread may be about to put
            ready.get_nowait()
        if join:
            thread.join()
