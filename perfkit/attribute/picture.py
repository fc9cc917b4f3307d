"""The Picture of a trace: rows of a timeline and flame graphs, thinned to what can be drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from perfkit.attribute.assemble import read_timelines
from perfkit.attribute.flames import Texts, flames
from perfkit.attribute.host import Host
from perfkit.attribute.places import Places
from perfkit.attribute.thin import thin
from perfkit.attribute.timeline import devices
from perfkit.attribute.tracks import device_owners, streams, thread_owners, threads
from perfkit.attribute.work import collect
from perfkit.model.arrays import distinct
from perfkit.model.picture import Picture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from perfkit.attribute.timeline import Reading
    from perfkit.model.picture import Flame, Track
    from perfkit.model.trace import Trace

    Ints = NDArray[np.int64]

__all__ = ["depict", "draw", "of_ranks"]

MOST_ELEMENTS: Final = 24_000
MOST_THREADS: Final = 12
FOR_OWNERS: Final = 4
"""The owners' part of the elements, as a divisor."""
FEWEST_STEPS: Final = 4
"""Of fewer, one is no small part of the whole."""


def depict(trace: Trace, *, window: Literal["steps", "device-span"] = "steps", whole: bool = False) -> Picture:
    """Make the picture of a trace.

    Args:
        trace: A trace with the default fields at least.
        window: As in `attribute`: of it the owners of time and the flame graphs are.
        whole: Keep every element and thread, and Python's own code, too: for other programs, not for a page.

    Returns:
        The picture; without any event it is empty.
    """
    host = Host(collect(trace))
    places = Places(host)
    readings, _ = read_timelines(host, places, window)
    return draw(host, places, readings, whole=whole)


def draw(
    host: Host,
    places: Places,
    readings: Sequence[Reading],
    *,
    whole: bool = False,
    proofs: Sequence[Sequence[int]] = (),
) -> Picture:
    """Make the picture of what was read already; as `depict` otherwise.

    ``proofs`` are the rows that prove each finding: where they are drawn is marked.
    """
    texts = Texts(host)
    several = len(host.work.processes) > 1
    tracks: list[Track] = []
    for device, reading in zip(devices(host.work), readings, strict=False):
        group = reading.timeline.id
        tracks += [device_owners(host, device, reading, group), *streams(host, device, reading, group)]
    if not tracks:
        tracks += [thread_owners(host, reading, reading.timeline.id) for reading in readings]
    hosts, left_out = threads(
        host, None if whole else MOST_THREADS, lambda process: f"process {process}" if several else "host"
    )
    tracks += hosts
    if whole:
        tracks = [with_shapes(host, track) for track in tracks]
    graphs = flames(host, places, texts, readings, whole=whole)
    focus = None if whole else typical(readings)
    found = compose(tracks, graphs, texts.of, focus=focus, whole=whole, proofs=proofs)
    return found._replace(threads_left_out=left_out, launches=launches(host) if whole else None)


def with_shapes(host: Host, track: Track) -> Track:
    """Add the shapes of inputs, where they were recorded."""
    shapes = host.work.trace.columns.get("shapes")
    none = np.full(len(track.row), -1)
    return track._replace(
        shapes=none if shapes is None else np.where(track.row >= 0, np.maximum(shapes[track.row], -1), none)
    )


def launches(host: Host) -> Ints:
    """Return the rows of each launch call and of what it launched."""
    activities, calls = host.work.activities, host.work.calls
    linked = np.flatnonzero(activities.call >= 0)
    return np.stack((calls.row[activities.call[linked]], activities.row[linked]), axis=1).astype(np.int64)


def of_ranks(tracks: Sequence[Track], names: Sequence[str]) -> Picture:
    """Make the picture of many ranks, of their tracks on one clock."""
    return compose(tracks, (), lambda used: tuple(names[index] for index in used))


def typical(readings: Sequence[Reading]) -> tuple[int, int] | None:
    """Return the step of median length of the first timeline that has some, and as much before it, for its launches."""
    steps = next((reading.timeline.steps for reading in readings if reading.timeline.steps), ())
    if len(steps) < FEWEST_STEPS:
        return None
    middle = sorted(steps, key=lambda step: step.end_ns - step.start_ns)[len(steps) // 2]
    return middle.start_ns - (middle.end_ns - middle.start_ns), middle.end_ns


def thinned(tracks: Sequence[Track], focus: tuple[int, int] | None) -> list[Track]:
    """Thin the tracks: those of owners on their own, lest they drown in the rest."""
    found: dict[int, Track] = {}
    for owners in (True, False):
        some = [index for index, track in enumerate(tracks) if (track.role == "owners") == owners]
        limit = MOST_ELEMENTS // FOR_OWNERS if owners else MOST_ELEMENTS - MOST_ELEMENTS // FOR_OWNERS
        found.update(zip(some, thin_some([tracks[index] for index in some], limit, focus), strict=True))
    return [found[index] for index in range(len(tracks))]


def thin_some(tracks: Sequence[Track], limit: int, focus: tuple[int, int] | None) -> list[Track]:
    """Thin tracks together, so that all are shown at one resolution."""
    if not tracks:
        return []
    lanes, first = [], 0
    for track in tracks:
        lanes.append(first + track.level)
        first += int(track.level.max(initial=-1)) + 1
    lane = np.concatenate(lanes)
    start = np.concatenate([track.start for track in tracks])
    end = np.concatenate([track.end for track in tracks])
    thin_ones = thin(lane, start, end, limit, focus)
    edges = np.cumsum([0, *(len(track.start) for track in tracks)])
    owner = np.searchsorted(edges, thin_ones.longest, "right") - 1
    answer = []
    for index, track in enumerate(tracks):
        some = np.flatnonzero(owner == index)
        place = thin_ones.longest[some] - edges[index]
        answer.append(
            track._replace(
                start=thin_ones.start[some],
                end=thin_ones.end[some],
                level=track.level[place],
                kind=track.kind[place],
                name=track.name[place],
                merged=thin_ones.merged[some],
                row=track.row[place],
            )
        )
    return answer


def compose(
    tracks: Sequence[Track],
    graphs: Sequence[Flame],
    texts_of: Callable[[list[int]], tuple[str, ...]],
    *,
    focus: tuple[int, int] | None = None,
    whole: bool = False,
    proofs: Sequence[Sequence[int]] = (),
) -> Picture:
    """Put a picture together, thinned unless it is to be whole; only the names that are used are kept."""
    elements = sum(len(track.start) for track in tracks)
    drawn = list(tracks) if whole else thinned(tracks, focus)
    pairs = [(before, after) for before, after in zip(tracks, drawn, strict=True) if len(after.start)]
    kept = [after for _, after in pairs]
    columns = [track.name for track in kept] + [graph.name for graph in graphs]
    columns += [track.shapes for track in kept if track.shapes is not None]
    used = distinct(np.concatenate([np.empty(0, np.int64), *columns]))
    used = used[used >= 0]

    def renumber(name: Ints) -> Ints:
        return np.where(name >= 0, np.searchsorted(used, name), -1)

    times = [time for track in kept for time in (int(track.start.min()), int(track.end.max()))]
    return Picture(
        names=texts_of(used.tolist()),
        start_ns=min(times, default=0),
        end_ns=max(times, default=0),
        tracks=tuple(
            track._replace(name=renumber(track.name), shapes=None if track.shapes is None else renumber(track.shapes))
            for track in kept
        ),
        focus=None if sum(len(track.start) for track in kept) == elements else focus,
        elements=elements,
        threads_left_out=0,
        flames=tuple(graph._replace(name=renumber(graph.name)) for graph in graphs),
        marks=tuple(marks(pairs, rows) for rows in proofs),
    )


def marks(pairs: Sequence[tuple[Track, Track]], rows: Sequence[int]) -> tuple[tuple[int, Ints], ...]:
    """Return where some rows are drawn: tracks by position, and the elements that show them after thinning."""
    found = []
    for place, (before, after) in enumerate(pairs) if len(rows) else ():
        some = np.flatnonzero(np.isin(before.row, rows))
        if len(some):
            origin = int(before.start.min())
            span = int(before.end.max()) - origin + 1
            at = after.level * span + after.start - origin
            moment = before.level[some] * span + before.start[some] - origin
            found.append((place, distinct(np.searchsorted(at, moment, "right") - 1)))
    return tuple(found)
