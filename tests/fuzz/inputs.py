"""Input number n of a run: the same for whoever asks, so that a child that died need not tell what it died of."""

from __future__ import annotations

import gzip
import random
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fuzz.broken_databases import break_database, sound_databases
from tests.fuzz.mutations import mutate
from tests.fuzz.seeds import DOCUMENTS, excerpts, read_trace, trace_files
from tests.simulator import Style, random_program, record, write

if TYPE_CHECKING:
    from collections.abc import Iterator

EXCERPTS_PER_TRACE = 4
BIGGEST_TRACE = 1_400_000
DATABASES = 0.2
"""The share of inputs that are SQLite files."""

SIMULATED_LAYOUTS = ("compact", "kineto", "pretty")


@dataclass(frozen=True)
class Inputs:
    """The inputs of the run `seed`, by number."""

    seed: int
    corpus: tuple[bytes, ...]
    databases: tuple[bytes, ...]

    def __getitem__(self, number: int) -> bytes:
        if number < len(self.corpus):
            return self.corpus[number]
        rng = random.Random(f"{self.seed}/{number}")
        if rng.random() < DATABASES:
            return break_database(rng.choice(self.databases), rng)
        return mutate(rng.choice(self.corpus), rng)


def open_inputs(seed: int) -> Inputs:
    """Gathers what to mutate: hand-written documents, excerpts of recorded and simulated traces, and databases."""
    rng = random.Random(seed)
    corpus = list(DOCUMENTS)
    for file in trace_files():
        if file.stat().st_size <= BIGGEST_TRACE:
            corpus += excerpts(read_trace(file), rng, EXCERPTS_PER_TRACE)
    for document in _simulate(rng):
        corpus += excerpts(document, rng, EXCERPTS_PER_TRACE)
    return Inputs(seed, tuple(corpus), tuple(sound_databases(rng)))


def _simulate(rng: random.Random) -> Iterator[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        for layout in SIMULATED_LAYOUTS:
            style = Style(layout=layout, old_names=rng.random() < 0.5, numbers_as_text=rng.random() < 0.5)
            path = Path(folder, f"{layout}.json")
            write(record(random_program(rng.randrange(1000))), path, style)
            yield path.read_bytes()


def pack(document: bytes, rng: random.Random) -> tuple[str, bytes]:
    """A file name and content that hold the document: as it is, or compressed, or compressed and then damaged."""
    way = rng.random()
    if way < 0.5:
        return "trace.json", document
    packed = gzip.compress(document, 1, mtime=0) if way < 0.8 else zlib.compress(document)
    return "trace.json.gz", mutate(packed, rng) if way < 0.7 else packed
