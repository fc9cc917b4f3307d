"""A disk that a test fills up, or forbids to be written."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class Disk(NamedTuple):
    """A disk that is mounted at a place."""

    place: Path

    @property
    def filler(self) -> Path:
        return self.place / "filler"

    def fill(self) -> None:
        """Leave not a byte."""
        with self.filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def make_room(self) -> None:
        """Have it empty but for what is not the test's."""
        self.filler.unlink()

    def forbid_writing(self) -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(self.place)], check=True)
