"""The Picture of a trace: rows of a timeline and flame graphs, thinned to what can be drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from perfkit.attribute.assemble import read_devices
from perfkit.attribute.flames import Texts, flames
from perfkit.attribute.host import Host
from perfkit.attribute.host_timeline import read_host
from perfkit.attribute.places import Places
from perfkit.attribute.thin import thin
from perfkit.attribute.tracks import device_owners, streams, thread_owners, threads
from perfkit.attribute.work import collect
from perfkit.model.picture import Picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from perfkit.attribute.timeline import Reading
    from perfkit.model.picture import Flame, Track
    from perfkit.model.trace import Trace

    Ints = NDArray[np.int64]

__all__ = ["depict"]

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
    places, texts = Places(host), Texts(host)
    several = len(host.work.processes) > 1
    found = read_devices(host, places, window)
    readings: list[Reading] = [reading for _, reading, _ in found]
    tracks: list[Track] = []
    for device, reading, _ in found:
        group = reading.timeline.id
        tracks += [device_owners(host, device, reading, group), *streams(host, device, reading, group)]
    if not found:
        readings, _ = read_host(host, places, window)
        tracks += [thread_owners(host, reading, reading.timeline.id) for reading in readings]
    hosts, left_out = threads(
        host, None if whole else MOST_THREADS, lambda process: f"process {process}" if several else "host"
    )
    tracks += hosts
    focus = None if whole else typical(readings)
    elements = sum(len(track.start) for track in tracks)
    drawn = tracks if whole else thinned(tracks, focus)
    kept = [track for track in drawn if len(track.start)]
    if sum(len(track.start) for track in drawn) == elements:
        focus = None
    return picture_of(texts, kept, focus, elements, left_out, flames(host, places, texts, readings, whole=whole))


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
            )
        )
    return answer


def picture_of(
    texts: Texts,
    tracks: Sequence[Track],
    focus: tuple[int, int] | None,
    elements: int,
    left_out: int,
    graphs: Sequence[Flame],
) -> Picture:
    """Put a picture together; only the names that are used are kept."""
    columns = [track.name for track in tracks] + [graph.name for graph in graphs]
    used = np.unique(np.concatenate([np.empty(0, np.int64), *columns]))
    used = used[used >= 0]
    others = list(texts.others)
    known = len(texts.strings)
    names = tuple(texts.strings[index] if index < known else others[index - known] for index in used.tolist())

    def renumber(name: Ints) -> Ints:
        return np.where(name >= 0, np.searchsorted(used, name), -1)

    times = [time for track in tracks for time in (int(track.start.min()), int(track.end.max()))]
    return Picture(
        names=names,
        start_ns=min(times, default=0),
        end_ns=max(times, default=0),
        tracks=tuple(track._replace(name=renumber(track.name)) for track in tracks),
        focus=focus,
        elements=elements,
        threads_left_out=left_out,
        flames=tuple(graph._replace(name=renumber(graph.name)) for graph in graphs),
    )
