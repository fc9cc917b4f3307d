"""Keeps what was found out about an input, under what the input was: the same input is not looked at twice.

An entry is a zip of arrays as numpy writes them (`.npz`), one of which is JSON text. One that is damaged or foreign is
as good as none. Entries are written beside and moved into place, so many processes can share a folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

import perfkit
from perfkit.distribute.records import RECORDS, from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FOLDER_VARIABLE", "Store", "default_folder"]

FOLDER_VARIABLE: Final = "PERFKIT_CACHE_DIR"
"""Environment variable with another folder than the user's cache, such as one that a cluster shares."""

LARGEST_BYTES: Final = 2 << 30
"""What a folder may grow to; the entries that were not asked for the longest go first."""

_LAYOUT: Final = 1
_LARGEST_ENTRY_BYTES: Final = 256 << 20
_MEMBER: Final = "records.npy"


def default_folder() -> Path:
    """Return where summaries are kept: what `FOLDER_VARIABLE` says, or the user's cache folder."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen)
    try:
        from platformdirs import user_cache_path
    except ImportError:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perfkit" / "summaries"
    return user_cache_path("perfkit", appauthor=False) / "summaries"


class Store(NamedTuple):
    """A folder of results; what cannot be read or written there is not kept, and nothing is said of it."""

    folder: Path

    def read(self, key: Iterable[object]) -> object | None:
        """Return what was kept under a key of plain values, or None if there is nothing, or nothing sound."""
        path = self._place(key)
        try:
            if path.stat().st_size > _LARGEST_ENTRY_BYTES:
                return None
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = [file[str(number)] for number in range(len(file.files) - 1)]
                value = from_json(file[_MEMBER.removesuffix(".npy")].tobytes(), arrays)
            os.utime(path)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError):
            return None
        return value

    def write(self, key: Iterable[object], value: object) -> None:
        """Keep a value under a key."""
        text, arrays = to_json(value)
        path = self._place(key)
        beside = path.with_name(f".{path.stem}.{os.urandom(4).hex()}")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with zipfile.ZipFile(beside, "x", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
                members = {str(number): array for number, array in enumerate(arrays)}
                members[_MEMBER.removesuffix(".npy")] = np.frombuffer(text.encode(), np.uint8)
                for name, array in members.items():
                    with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            beside.replace(path)
        except OSError:  # no such place, no room, no right: then it is worked out again
            with suppress(OSError):
                beside.unlink()

    def shrink(self, largest_bytes: int = LARGEST_BYTES) -> None:
        """Delete the entries that were not asked for the longest, until the others are not too large together."""
        entries = []
        with suppress(OSError), os.scandir(self.folder) as scan:
            for entry in scan:
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    entries.append((status.st_mtime_ns, status.st_size, entry.path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= largest_bytes:
                return
            with suppress(OSError):
                Path(path).unlink()
            total -= size

    def _place(self, key: Iterable[object]) -> Path:
        """Return the path of the entry of a key; another perfkit has other places."""
        text = json.dumps([_LAYOUT, _edition(), *key], default=str)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:40]}.npz"


def _edition() -> str:
    """Return what tells this perfkit from others, edited ones too: version, records, sizes and times of files."""
    parts: list[object] = [perfkit.__version__, [(name, _names(record)) for name, record in RECORDS.items()]]
    root = Path(perfkit.__file__).parent
    for folder in sorted({root, *(path for path in root.iterdir() if path.is_dir())}):
        with suppress(OSError), os.scandir(folder) as scan:
            for entry in sorted(scan, key=lambda entry: entry.name):
                if entry.name.endswith((".py", ".so", ".pyd", ".toml")):
                    status = entry.stat()
                    parts.append((folder.name, entry.name, status.st_size, status.st_mtime_ns))
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _names(record: type) -> tuple[str, ...]:
    """Return the names of a record's fields."""
    return tuple(getattr(record, "_fields", ()) or getattr(record, "__dataclass_fields__", ()))
