"""A Picture as Chrome trace events, which Perfetto and chrome://tracing open; who owns the time is a track of its own.

The format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU. Complete events
(``X``) have times in microseconds. Digits after the point keep the nanoseconds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from perfkit.model.picture import KINDS
from perfkit.report.labels import kind_label

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def elements(picture: Picture, track: Track, pid: int, tid: int) -> Iterator[dict[str, Any]]:
    """Yield the elements of a track, relative to the start of the picture."""
    columns = (track.start - picture.start_ns, track.end - track.start, track.kind, track.name)
    for start, length, kind, name in zip(*(column.tolist() for column in columns), strict=True):
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
        yield event
