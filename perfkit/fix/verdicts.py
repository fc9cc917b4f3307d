"""Verdicts of earlier runs, kept by everything that they depend on; in one small file each, in the user's cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from perfkit.model.measurement import Measurement
from perfkit.model.patch import Candidate

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FOLDER_VARIABLE", "Verdicts"]

FOLDER_VARIABLE: Final = "PERFKIT_VERDICTS"
"""Names the folder where verdicts are kept; empty for nowhere."""
LAYOUT: Final = 1
MEASUREMENTS: Final = ("alone", "forward", "in_model")


class Verdicts:
    """A folder of verdicts; what cannot be read or written there is not kept, and nothing is said of it."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    @classmethod
    def of_user(cls) -> Verdicts:
        """Return those of the user, or of the folder that the environment names."""
        chosen = os.environ.get(FOLDER_VARIABLE)
        if chosen is not None:
            return cls(Path(chosen) if chosen else None)
        try:
            from platformdirs import user_cache_path
        except ImportError:
            return cls(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perfkit" / "verdicts")
        return cls(user_cache_path("perfkit", appauthor=False) / "verdicts")

    def read(self, key: Sequence[object]) -> tuple[Candidate, ...] | None:
        """Return the candidates as they were judged; None if there is nothing, or nothing sound."""
        if self.folder is None:
            return None
        try:
            document = json.loads(self._place(key).read_text("utf-8"))
            if document["key"] != _text(key):
                return None
            return tuple(map(_candidate, document["candidates"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, key: Sequence[object], candidates: Sequence[Candidate]) -> None:
        """Keep a verdict."""
        if self.folder is None:
            return
        rows = []
        for candidate in candidates:
            row = candidate._asdict()
            for name in MEASUREMENTS:
                row[name] = row[name] and row[name]._asdict()
            rows.append(row)
        place = self._place(key)
        beside = place.with_suffix(f".{os.urandom(4).hex()}")
        with contextlib.suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside.write_text(json.dumps({"key": _text(key), "candidates": rows}), "utf-8")
            beside.replace(place)

    def _place(self, key: Sequence[object]) -> Path:
        name = hashlib.sha256(_text(key).encode()).hexdigest()[:32]
        return (self.folder or Path()) / f"{name}.json"


def _text(key: Sequence[object]) -> str:
    return json.dumps([LAYOUT, *map(str, key)])


def _candidate(row: dict[str, Any]) -> Candidate:
    for name in MEASUREMENTS:
        row[name] = row[name] and Measurement(**row[name])
    return Candidate(**row)
