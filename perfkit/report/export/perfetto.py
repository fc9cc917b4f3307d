"""A Picture as Chrome trace events, which Perfetto and chrome://tracing open; who owns the time is a track of its own.

The format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU. Complete events
(``X``) have times in microseconds. Digits after the point keep the nanoseconds. A launch is an arrow (``s`` to
``f``) from the call to what it launched.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from perfkit.model.picture import KINDS
from perfkit.report.labels import kind_label

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perfkit.model.picture import Picture, Track

__all__ = ["draw"]


def draw(picture: Picture, title: str) -> str:
    """Return the document, an event a line; ``title`` says what it is of."""
    lines = ",\n".join(json.dumps(event, separators=(",", ":")) for event in events(picture))
    head = json.dumps({"displayTimeUnit": "ns", "otherData": {"title": title, "exporter": "perfkit"}})
    return f'{head[:-1]}, "traceEvents": [\n{lines}\n]}}\n'


def events(picture: Picture) -> Iterator[dict[str, Any]]:
    """Yield what names the tracks, then their elements."""
    groups = list(dict.fromkeys(track.group for track in picture.tracks))
    for pid, group in enumerate(groups, 1):
        yield {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": group}}
        yield {"ph": "M", "name": "process_sort_index", "pid": pid, "tid": 0, "args": {"sort_index": pid}}
    for tid, track in enumerate(picture.tracks, 1):
        pid = groups.index(track.group) + 1
        name = f"perfkit: {track.label}" if track.role == "owners" else track.label
        yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": name}}
        yield {"ph": "M", "name": "thread_sort_index", "pid": pid, "tid": tid, "args": {"sort_index": tid}}
        yield from elements(picture, track, pid, tid)
    yield from arrows(picture, [groups.index(track.group) + 1 for track in picture.tracks])


def elements(picture: Picture, track: Track, pid: int, tid: int) -> Iterator[dict[str, Any]]:
    """Yield the elements of a track, relative to the start of the picture."""
    shapes = np.full(len(track.start), -1) if track.shapes is None else track.shapes
    columns = (track.start - picture.start_ns, track.end - track.start, track.kind, track.name, shapes)
    for start, length, kind, name, shape in zip(*(column.tolist() for column in columns), strict=True):
        label, text = kind_label(KINDS[kind]), picture.names[name] if name >= 0 else ""
        owner = track.role == "owners"
        event = {
            "ph": "X",
            "name": label if owner else text or label,
            "cat": f"perfkit.{KINDS[kind]}" if owner else KINDS[kind],
            "ts": start / 1000,
            "dur": length / 1000,
            "pid": pid,
            "tid": tid,
        }
        if owner and text:
            event["args"] = {"host event": text}
        elif shape >= 0:
            event["args"] = {"Input Dims": picture.names[shape]}
        yield event


def arrows(picture: Picture, pids: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield the beginning and the end of an arrow for each launch of which both ends are drawn."""
    if picture.launches is None or not len(picture.launches):
        return
    drawn = [(track, tid) for tid, track in enumerate(picture.tracks, 1) if (track.row >= 0).any()]
    last = max([int(picture.launches.max()), *(int(track.row.max()) for track, _ in drawn)])
    tid_of, start_of = np.zeros(last + 1, np.int64), np.zeros(last + 1, np.int64)
    for track, tid in drawn:
        shown = track.row >= 0
        tid_of[track.row[shown]], start_of[track.row[shown]] = tid, track.start[shown] - picture.start_ns
    known = picture.launches[(tid_of[picture.launches] > 0).all(axis=1)]
    for number, ends in enumerate(known.tolist(), 1):
        for phase, row in zip(({"ph": "s"}, {"ph": "f", "bp": "e"}), ends, strict=True):
            tid = int(tid_of[row])
            place = {"ts": int(start_of[row]) / 1000, "pid": pids[tid - 1], "tid": tid}
            yield {**phase, "id": number, "name": "launch", "cat": "launch", **place}
