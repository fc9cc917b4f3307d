"""The traces to measure on, as .json and .json.gz: recorded ones where there are some of the size, else simulated.

They are made once and kept in a folder of caches. `python -m benchmarks.subjects BYTES FILE` simulates one.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

ROOT: Final = Path(__file__).parent.parent
SIMULATOR: Final = ROOT / "tests" / "simulator"
RECORDED: Final = ROOT.parent / "shared" / "traces"
"""Where recorded traces are looked for, unless a folder is named."""
RECORDED_UP_TO: Final = 100_000_000

NEAR: Final = 0.25
"""How far, as a share, the size of a recorded trace may be from the size that is wanted."""

COPY_BYTES: Final = 1 << 20

MOST_SECTIONS: Final = 120
"""Of 144 kB of JSON each in a simulated step: a step is simulated once and repeated, and has to fit in memory."""


@dataclass(frozen=True)
class Subject:
    """A trace to measure on, in both forms."""

    label: str
    origin: str
    json: Path
    gzip: Path
    json_bytes: int


def cache_folder() -> Path:
    """Return the folder in which traces are kept from one run to the next, made if it is not there."""
    home = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(home) if home else Path.home() / ".cache") / "perfkit-benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def find_subject(size: int, folder: Path) -> Subject:
    """Find the recorded trace of about a size below a folder, or make a simulated one."""
    cache = cache_folder()
    return (recorded(folder, size, cache) if size <= RECORDED_UP_TO else None) or simulated(size, cache)


def recorded(folder: Path, size: int, cache: Path) -> Subject | None:
    """Find the recorded trace whose JSON is nearest to `size` bytes, below `folder`; None if none is near."""
    found = min(_traces(folder), key=lambda trace: abs(trace[0] - size), default=None)
    if found is None or abs(found[0] - size) > NEAR * size:
        return None
    size_bytes, packed = found
    unpacked = cache / packed.name.removesuffix(".gz")
    if not unpacked.exists():
        with gzip.open(packed) as source:
            _write(cast("BinaryIO", source), unpacked)
    return Subject(_label(size), f"recorded, {packed.name}", unpacked, packed, size_bytes)


def simulated(size: int, cache: Path) -> Subject:
    """Simulate a trace of `size` bytes, unless it is there from before."""
    sources = b"".join(path.read_bytes() for path in sorted(SIMULATOR.glob("*.py")) if not path.stem.startswith("__"))
    plain = cache / f"simulated-{size}-{hashlib.sha256(sources).hexdigest()[:12]}.json"
    packed = plain.with_name(plain.name + ".gz")
    if not plain.exists():
        partial = plain.with_name(f"partial-{plain.name}")
        subprocess.run([sys.executable, "-m", "benchmarks.subjects", str(size), str(partial)], cwd=ROOT, check=True)
        partial.replace(plain)
    if not packed.exists():
        with plain.open("rb") as source:
            _write(source, packed)
    return Subject(_label(size), "simulated", plain, packed, plain.stat().st_size)


def warm(path: Path) -> None:
    """Read a file once, so that every contestant finds it in the page cache."""
    with path.open("rb", buffering=0) as file:
        while file.read(COPY_BYTES):
            pass


def _traces(folder: Path) -> Iterator[tuple[int, Path]]:
    """Yield size and path of each compressed trace that is whole."""
    for path in sorted(folder.rglob("*.json.gz")):
        if "malformed" not in path.parts and (size := _unpacked_bytes(path)) is not None:
            yield size, path


def _unpacked_bytes(path: Path) -> int | None:
    """Return the size of the decompressed file, or None if it cannot be decompressed."""
    size = 0
    try:
        with gzip.open(path) as file:
            while piece := file.read(COPY_BYTES):
                size += len(piece)
    except (OSError, EOFError, zlib.error):
        return None
    return size


def _write(source: BinaryIO, target: Path) -> None:
    """Write a file as a whole or not at all; .gz is compressed as `torch.profiler` compresses, with gzip's default."""
    partial = target.with_name(f"partial-{target.name}")
    with cast("BinaryIO", gzip.open(partial, "wb") if target.suffix == ".gz" else partial.open("wb")) as file:
        shutil.copyfileobj(source, file, COPY_BYTES)
    partial.replace(target)


def _label(size: int) -> str:
    return f"{size // 10**9} GB" if size >= 10**9 else f"{size // 10**6} MB"


def simulate(size: int, path: Path) -> None:
    """Write a simulated trace of some thirty steps, or of more where those would be too large."""
    from tests.simulator.endless import write_steps  # here: the measuring process stays free of numpy

    sections = max(2, min(size // 4_300_000, MOST_SECTIONS))
    write_steps(path, size, seed=1, sections=sections)


if __name__ == "__main__":
    simulate(int(sys.argv[1]), Path(sys.argv[2]))
