"""From the traces of many ranks to one Diagnosis: each is summarised where it lies, and the summaries are compared."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from perfkit.advise import EVERY_RULE, advise
from perfkit.attribute import Part, merge, merge_defects, summarise_ranks
from perfkit.compare import compare
from perfkit.distribute import capacity
from perfkit.distribute.outcome import Lost
from perfkit.distribute.store import Store, default_folder
from perfkit.errors import PerfkitError, UnreadableTraceError
from perfkit.ingest import load
from perfkit.ingest.remote import is_url, url_identity
from perfkit.model.columns import COLLECTIVE_FIELDS, DEFAULT_FIELDS
from perfkit.model.diagnosis import Diagnosis, TraceSummary
from perfkit.model.fleet import COLLECTIVE_KINDS, Failure, RankSummary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from perfkit.advise import RuleSet
    from perfkit.distribute.outcome import Outcome
    from perfkit.ingest import Found
    from perfkit.model.fleet import Fleet
    from perfkit.model.picture import Picture
    from perfkit.model.trace import Device

    Progress = Callable[[int, int | None], None]
    Answer = tuple[RankSummary, ...] | Failure

__all__ = ["Means", "diagnose_fleet", "summarise"]

SMALL_BYTES: Final = 16 << 20
"""Traces that are smaller than this together are read before processes for them would have started."""
MEMORY_PER_BYTE: Final = 3
"""What reading a trace takes at its peak for each byte of it, at most: measured on traces of 1 to 600 MB."""
MOST_DRAWN: Final = 256
"""Ranks that are drawn: a row of twenty pixels each is as much as anybody scrolls."""
COMPRESSION: Final = 20
"""How much larger a compressed trace is unpacked, at most, of those seen."""


class Means(NamedTuple):
    """With what many traces are read.

    Attributes:
        jobs: How many at once; None for as many as there are processors and memory for.
        ray: Address of a Ray cluster to read them on, ``local`` for one of this machine; None for processes here.
        cache: Keep the summaries, and use those that were kept of the same files.
    """

    jobs: int | None = None
    ray: str | None = None
    cache: bool = True


class Task(NamedTuple):
    """One trace to summarise, and the folder of finished summaries, or an empty one to do without."""

    path: str
    rank: int | None
    window: Literal["steps", "device-span"]
    store: str


def diagnose_fleet(  # noqa: PLR0913  an option each
    found: Sequence[Found],
    place: str,
    *,
    window: Literal["steps", "device-span"] = "steps",
    means: Means,
    rules: RuleSet = EVERY_RULE,
    recorded_as: str = "",
    picture: bool = False,
    progress: Progress | None = None,
) -> Diagnosis:
    """Say where the time of each rank goes, who waits for whom, and what follows from it.

    Args:
        found: The traces, one or more for each rank.
        place: What to call all of them together.
        window: As in `perfkit.diagnose`.
        means: With what to read them.
        rules: What to look for.
        recorded_as: What made the traces, for what to do next, where that is not told by their format.
        picture: Also make the picture that a page draws.
        progress: Called after each trace with the bytes that were read, and how many there are (None if not known).

    Returns:
        The diagnosis, with the fleet, and the timelines of all ranks. A trace that cannot be read is in ``failed``.

    Raises:
        MissingExtraError: Ray is asked for and not installed.
        UnreadableTraceError: None of the traces can be read.
        UsageError: No Ray cluster answers.
    """
    store = Store(default_folder()) if means.cache else None
    sound = [trace for trace in found if not trace.problem]
    tasks = [Task(trace.path, trace.rank, window, str(store.folder) if store else "") for trace in sound]
    answers: list[Answer] = [Failure(task.path, task.rank, "it was not read") for task in tasks]
    total, done = sum(trace.size_bytes for trace in sound), 0
    for outcome in run(tasks, sound, means):
        task, result = tasks[outcome.place], outcome.result
        answers[outcome.place] = Failure(task.path, task.rank, result.reason) if isinstance(result, Lost) else result
        done += sound[outcome.place].size_bytes
        if progress is not None:
            progress(done, total or None)
    if store is not None:
        store.shrink()
    failed = [Failure(trace.path, trace.rank, trace.problem) for trace in found if trace.problem]
    failed += [answer for answer in answers if isinstance(answer, Failure)]
    summaries = [summary for answer in answers if not isinstance(answer, Failure) for summary in answer]
    if not summaries:
        message = f"none of the {len(failed):,} traces at {place} can be read; the first: {failed[0].message}"
        raise UnreadableTraceError(message)
    fleet = compare(summaries, failed=failed, picture=picture)
    return assemble(summaries, fleet, place, rules, recorded_as)


def run(tasks: Sequence[Task], traces: Sequence[Found], means: Means) -> Iterator[Outcome[Answer]]:
    """Summarise the traces here, in processes, or on Ray."""
    if means.ray is not None:
        from perfkit.distribute.ray_cluster import on_ray

        yield from on_ray(summarise, tasks, means.ray, means.jobs)
        return
    sizes = [trace.size_bytes * (COMPRESSION if trace.compressed else 1) for trace in traces]
    if means.jobs == 1 or len(tasks) == 1 or (means.jobs is None and all(sizes) and sum(sizes) < SMALL_BYTES):
        from perfkit.distribute.outcome import Outcome

        for place, task in enumerate(tasks):
            yield Outcome(place, summarise(task))
        return
    from perfkit.distribute.pool import in_processes

    jobs = capacity.processes([MEMORY_PER_BYTE * size for size in sizes], means.jobs)
    yield from in_processes(summarise, tasks, jobs)


def summarise(task: Task) -> Answer:
    """Summarise a trace, or find its summary among the finished ones; one that cannot be read is a Failure."""
    store = Store(Path(task.store)) if task.store else None
    try:
        key = identity(task) if store else None
        kept = store.read(key) if store and key else None
        if isinstance(kept, tuple) and kept and all(isinstance(summary, RankSummary) for summary in kept):
            return tuple(summary._replace(trace=summary.trace._replace(path=task.path)) for summary in kept)
        trace = load(task.path, fields=DEFAULT_FIELDS + COLLECTIVE_FIELDS)
        summaries = summarise_ranks(trace, window=task.window)
    except PerfkitError as error:
        return Failure(task.path, task.rank, str(error))
    if store and key:
        store.write(key, summaries)
    return summaries


def identity(task: Task) -> list[object] | None:
    """Return what changes whenever the file or the question does; None where that cannot be told."""
    if is_url(task.path):
        told = url_identity(task.path)
        return [*told, task.window] if told else None
    try:
        status = os.stat(task.path)  # noqa: PTH116  a path may hold a NUL
    except (OSError, ValueError):
        return None
    return [os.path.abspath(task.path), status.st_size, status.st_mtime_ns, status.st_ino, task.window]  # noqa: PTH100


def assemble(
    summaries: Sequence[RankSummary],
    fleet: Fleet,
    place: str,
    rules: RuleSet = EVERY_RULE,
    recorded_as: str = "",
) -> Diagnosis:
    """Put the attributions of the ranks together, and say what follows."""
    by_place = {(summary.trace.path, summary.process, summary.timeline): summary for summary in summaries}
    chosen = [by_place[row.path, row.process, row.timeline] for row in fleet.ranks]
    first = chosen[0].trace.epoch_ns
    parts = []
    for row, clock, summary in zip(fleet.ranks, fleet.clocks, chosen, strict=True):
        shift = 0 if clock.source == "none" else summary.trace.epoch_ns + clock.applied_ns - first
        rank = row.rank if fleet.of == "ranks" else None
        parts.append(Part(rank, fleet.name_of(row), summary.attribution, shift))
    attribution = merge(parts)
    traces = list({summary.trace.path: summary.trace for summary in chosen}.values())
    trace = TraceSummary(
        path=place,
        format=", ".join(sorted({trace.format for trace in traces})),
        epoch_ns=first,
        clock=chosen[0].trace.clock,
        hardware=hardware(traces),
        rank=None,
        world_size=fleet.world_size,
        events=sum(trace.events for trace in traces),
        defects=merge_defects(defect for trace in traces for defect in trace.defects),
    )
    picture = depict(fleet, [part.shift_ns for part in parts]) if fleet.tracks else None
    fleet = fleet._replace(tracks=())
    advice = advise(attribution, rules, fleet=fleet, recorded_as=recorded_as)
    return Diagnosis(trace, attribution, advice, fleet, picture=picture)


def depict(fleet: Fleet, shifts: Sequence[int]) -> Picture:
    """Draw the collectives of the ranks on one clock; of very many ranks the first, and the one that is waited for."""
    from perfkit.attribute.picture import of_ranks

    late = fleet.straggler.rank if fleet.straggler else None
    order = sorted(range(len(shifts)), key=lambda at: (fleet.ranks[at].rank != late, at))
    tracks = [
        track._replace(start=track.start + shifts[at], end=track.end + shifts[at])
        for at in sorted(order[:MOST_DRAWN])
        for track in [fleet.tracks[at]]
    ]
    return of_ranks(tracks, COLLECTIVE_KINDS)._replace(threads_left_out=len(shifts) - len(tracks))


def hardware(traces: Sequence[TraceSummary]) -> tuple[Device, ...]:
    """Return the devices of all traces, each once: machines may have devices of the same number, so uuids tell."""
    devices = [device for trace in traces for device in trace.hardware]
    known = {(device.uuid or (device.index, device.name)): device for device in reversed(devices)}
    return tuple(reversed(known.values()))
