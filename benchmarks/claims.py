"""What perfkit promises of its speed, and whether this run bears it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.rounds import Spread, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.rounds import Score
    from benchmarks.subjects import Subject

    Results = Sequence[tuple[Subject, str, Mapping[str, Score]]]

LOAD: Final = "perfkit.load"

FASTER: Final = {"HolisticTraceAnalysis": 15.0, "json.loads + DataFrame": 8.0}
ZLIB: Final = 2.0
EVENT_BYTES, FIXED_BYTES = 100, 200_000_000
LARGE_BYTES: Final = 400_000_000
"""Below this, the memory of the interpreter and its packages would be most of what is measured."""
ATTRIBUTION_S: Final = 0.5
DIAGNOSE, DIAGNOSE_S = 3.0, 2.0
HELP, HELP_S = 2.0, 0.1


@dataclass(frozen=True)
class Claim:
    """A promise and what was measured."""

    promise: str
    measured: str
    holds: bool


def reading_claims(results: Results) -> Iterator[Claim]:
    """Judge ingest by its peers on every file, by the medians of the ratios."""
    for subject, form, scores in results:
        where = f"{subject.label} {form}"
        for peer, least in FASTER.items():
            if found := ratio(scores[peer], scores[LOAD]):
                yield Claim(f"{where}: load {least:g}x as fast as {peer}", shown(found), found.median >= least)
        if "zlib alone" in scores and (found := ratio(scores[LOAD], scores["zlib alone"])):
            yield Claim(f"{where}: load within {ZLIB:g}x of zlib alone", shown(found), found.median <= ZLIB)
        if subject.json_bytes >= LARGE_BYTES:
            yield from memory_claims(where, scores)


def memory_claims(where: str, scores: Mapping[str, Score]) -> Iterator[Claim]:
    """Hold peak memory against 100 bytes an event plus 200 MB."""
    for name in (LOAD, "perfkit.diagnose"):
        if scores[name].samples:
            events = round(scores[name].median("count"))
            limit, peak = EVENT_BYTES * events + FIXED_BYTES, scores[name].peak_bytes
            measured = f"{peak / 1e6:,.0f} MB of {limit / 1e6:,.0f} MB for {events:,} events"
            yield Claim(f"{where}: {name} within 100 B an event + 200 MB", measured, peak <= limit)


def stage_claims(stages: Mapping[str, Mapping[str, float]]) -> Iterator[Claim]:
    """Judge the time of attribution alone."""
    seconds = stages["attribute"]["median_s"] * 1e6 / stages["attribute"]["events"]
    yield Claim(f"attribution of 1e6 events under {ATTRIBUTION_S} s", f"{seconds:.2f} s", seconds < ATTRIBUTION_S)


def cold_claims(cold: Mapping[str, Score], heavy: Sequence[str]) -> Iterator[Claim]:
    """Judge the command line, by bare interpreters in the same rounds."""
    small, large = (name for name in cold if name.startswith("perfkit diagnose"))
    if found := ratio(cold[small], cold["python -c 'import numpy'"]):
        promise = f"cold {small}: under {DIAGNOSE:g}x python -c 'import numpy'"
        yield Claim(promise, shown(found), found.median < DIAGNOSE)
    took = Spread.of([sample["seconds"] for sample in cold[large].samples.values()])
    measured = f"{took.median:.2f} s [{took.low:.2f}, {took.high:.2f}], n={took.n}"
    yield Claim(f"cold {large}: under {DIAGNOSE_S:g} s", measured, took.median < DIAGNOSE_S)
    seconds, bare = cold["perfkit --help"].median("seconds"), cold["python -c pass"].median("seconds")
    measured = f"{seconds * 1e3:.0f} ms, python -c pass {bare * 1e3:.0f} ms"
    yield Claim("perfkit --help under 2x python -c pass + 100 ms", measured, seconds < HELP * bare + HELP_S)
    yield Claim("perfkit --help imports neither numpy nor pandas", ", ".join(heavy) or "neither", not heavy)


def shown(found: Spread) -> str:
    """Write a ratio with its spread."""
    return f"{found.median:.3g}x [{found.low:.3g}, {found.high:.3g}], n={found.n}"
