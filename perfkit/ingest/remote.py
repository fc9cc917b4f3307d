"""Files that are not on this machine's disks: whatever fsspec has a driver for, by its URL."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from perfkit.errors import MissingExtraError, UnreadableTraceError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["files_at", "is_url", "is_url_of_many", "open_url", "url_identity"]

_URL: Final = re.compile(r"(?:[A-Za-z][\w+.-]*::)*[A-Za-z][\w+.-]+://")

_PATTERN: Final = re.compile(r"[*?\[]")

_DEEPEST: Final = 4

_SIGNS: Final = frozenset(
    {
        *("etag", "mtime", "last_modified", "lastmodified", "last-modified", "updated", "timemodified", "generation"),
        *("md5hash", "content-md5", "content_md5", "crc32c", "digest", "crc", "date_time", "modified"),
    }
)
"""What drivers tell of a file that changes when the file does, in lower case."""


def is_url(path: str) -> bool:
    """Tell whether a path is a URL, such as ``s3://bucket/run``, ``file:///tmp/x`` or ``zip://a.json::https://...``."""
    return _URL.match(path) is not None


def is_url_of_many(url: str) -> bool:
    """Tell whether a URL is that of a folder, or a pattern.

    Raises:
        MissingExtraError: fsspec is not installed.
        UnreadableTraceError: No driver reads it, or the driver cannot tell.
    """
    system, path = _file_system(url)
    if _PATTERN.search(path):
        return True
    try:
        return bool(system.isdir(path))
    except Exception as error:
        raise _unreadable(url, "opened", error) from error


def files_at(url: str, most: int) -> list[str]:
    """List the files of a folder, four levels deep, hidden ones left out, or those that match a pattern.

    Raises:
        MissingExtraError: fsspec is not installed.
        UnreadableTraceError: It cannot be listed.
    """
    system, path = _file_system(url)
    try:
        found = sorted(system.glob(path) if _PATTERN.search(path) else system.find(path, maxdepth=_DEEPEST))
    except Exception as error:
        raise _unreadable(url, "listed", error) from error
    first, chain, rest = url.partition("::")
    base = first.partition("://")[0]
    return [
        f"{base}://{name}{chain}{rest}" if chain else str(system.unstrip_protocol(name))
        for name in found
        if not _hidden(name, path)
    ][:most]


def open_url(url: str) -> tuple[BinaryIO, int | None]:
    """Open a file, and return it with its size, or None where that is not known.

    Raises:
        MissingExtraError: fsspec is not installed.
        UnreadableTraceError: There is no such file, no right to it, or no driver.
    """
    system, path = _file_system(url)
    try:
        file = system.open(path, "rb")
        size = getattr(file, "size", None)
        size = system.size(path) if size is None else size
    except Exception as error:
        raise _unreadable(url, "opened", error) from error
    return cast("BinaryIO", io.BufferedReader(_Remote(file))), size if isinstance(size, int) else None


def url_identity(url: str) -> list[str] | None:
    """Return what changes whenever the file does, as far as its driver tells; None where it does not."""
    system, path = _file_system(url)
    try:
        told = system.info(path)
    except Exception:  # noqa: BLE001  see above; that it cannot be read is said when it is
        return None
    signs = sorted(f"{key}={value}" for key, value in told.items() if key.lower() in _SIGNS and value)
    return [url, f"size={told.get('size')}", *signs] if signs else None


class _Remote(io.RawIOBase):
    """A driver's file: whatever goes wrong in there is an OSError, which readers of files expect."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell whether one can go back in it."""
        return bool(self.file.seekable())

    def readinto(self, buffer: Any) -> int:
        """Read as much as there is room for."""
        data = self._ask("read", len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        return int(self._ask("seek", offset, whence))

    def tell(self) -> int:
        """Return the place."""
        return int(self.file.tell())

    def close(self) -> None:
        """Close the driver's file, too."""
        if not self.closed:
            super().close()
            self.file.close()

    def _ask(self, method: str, *arguments: int) -> Any:
        try:
            return getattr(self.file, method)(*arguments)
        except OSError:
            raise
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            raise OSError(message) from error


def _file_system(url: str) -> tuple[Any, str]:
    """Return the driver for a URL, and the path there."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtraError(f"reading {url}", "fleet") from error
    try:
        system, path = url_to_fs(url)
    except Exception as error:
        raise _unreadable(url, "opened", error) from error
    return system, str(path)


def _unreadable(url: str, what: str, error: Exception) -> UnreadableTraceError:
    """Say why in one line; a driver that is missing names its package itself."""
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, FileNotFoundError):
        reason = "there is no such file"
    return UnreadableTraceError(f"{url} cannot be {what}: {reason}")


def _hidden(name: str, folder: str) -> bool:
    """Tell whether a file, or a folder on the way to it, is hidden."""
    inner: Iterator[str] = iter(name.removeprefix(folder).split("/"))
    return any(part.startswith(".") for part in inner)
