"""A Picture as plain lists for the scripts of a page: starts as differences, so that the digits are few."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from perfkit.model.picture import KINDS
from perfkit.report.page.shell import clean, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Timeline
    from perfkit.model.diagnosis import Diagnosis
    from perfkit.model.picture import Flame, Picture, Track

__all__ = ["evidence", "flames", "timelines", "tracks"]

MOST_NAME_CHARACTERS: Final = 400_000
"""All names of a page together; where they would be longer, each is shortened."""
MOST_MARKS: Final = 2000
"""Elements of a track that are marked for a finding."""
MOST_STEPS: Final = 400
"""Steps of which each is drawn; of more, some neighbours are one."""


def names(picture: Picture) -> list[str]:
    """Return the names, clean and short enough for all of them to fit."""
    found = [clean(name) for name in picture.names]
    if sum(map(len, found)) > MOST_NAME_CHARACTERS:
        longest = max(MOST_NAME_CHARACTERS // len(found), 12)
        found = [shorten(name, longest) for name in found]
    return found


def tracks(picture: Picture) -> dict[str, Any]:
    """Return the rows of the timeline."""
    return {
        "names": names(picture),
        "kinds": list(KINDS),
        "span": picture.end_ns - picture.start_ns,
        "focus": picture.focus and [time - picture.start_ns for time in picture.focus],
        "elements": picture.elements,
        "threadsLeftOut": picture.threads_left_out,
        "tracks": [of_track(track, picture.start_ns) for track in picture.tracks],
    }


def of_track(track: Track, origin: int) -> dict[str, Any]:
    """Return one row; what is the same for all elements is one number."""
    return {
        "role": track.role,
        "timeline": clean(track.timeline),
        "group": clean(track.group),
        "label": clean(track.label),
        "start": np.diff(track.start - origin, prepend=0).tolist(),
        "length": (track.end - track.start).tolist(),
        "level": same_or_all(track.level),
        "kind": same_or_all(track.kind),
        "name": same_or_all(track.name),
        "merged": same_or_all(track.merged),
    }


def same_or_all(values: NDArray[np.int64]) -> int | list[int]:
    """Return the value that all have, or else the list of them."""
    return int(values[0]) if len(values) and (values == values[0]).all() else values.tolist()


def flames(picture: Picture) -> list[dict[str, Any]]:
    """Return the flame graphs."""
    return [of_flame(flame) for flame in picture.flames]


def of_flame(flame: Flame) -> dict[str, Any]:
    """Return one flame graph."""
    return {
        "by": flame.by,
        "measure": flame.measure,
        "parent": flame.parent.tolist(),
        "name": flame.name.tolist(),
        "self": flame.self_ns.tolist(),
    }


def timelines(lines: Iterable[Timeline], origin: int) -> list[dict[str, Any]]:
    """Return the windows of timelines, with their steps."""
    return [
        {
            "id": clean(line.id),
            "label": clean(label(line)),
            "start": line.start_ns - origin,
            "end": line.end_ns - origin,
            "steps": [
                {
                    "name": clean(step.name),
                    "start": step.start_ns - origin,
                    "end": step.end_ns - origin,
                    "owners": {name: ns for name, ns in (*step.busy.items(), *step.idle.items()) if ns},
                }
                for step in line.steps[:MOST_STEPS]
            ],
        }
        for line in lines
    ]


def label(line: Timeline) -> str:
    """Return what to call a timeline: the device and its name, or the thread."""
    if line.kind == "host_thread":
        return line.id
    device = f"GPU {line.device}" if line.device >= 0 else "GPU"
    return f"{device} {line.device_name} (process {line.process})" if line.process else f"{device} {line.device_name}"


def evidence(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    """Return what each finding is proved by on the timeline: owners of its time, and events of these names."""
    picture = diagnosis.picture
    place = {name: index for index, name in enumerate(picture.names)} if picture else {}
    return [
        {
            "rule": finding.rule,
            "title": clean(finding.title),
            "timeline": clean(finding.timeline),
            "causes": list(finding.causes),
            "names": sorted({place[name] for name in named(finding) if name in place}),
            "marks": marks(picture, index) if picture else [],
        }
        for index, finding in enumerate(diagnosis.advice.findings)
    ]


def marks(picture: Picture, finding: int) -> list[list[Any]]:
    """Return the elements that prove a finding: places of tracks, each with places of elements; some of very many."""
    if finding >= len(picture.marks):
        return []
    return [[track, found[:: -(-len(found) // MOST_MARKS)].tolist()] for track, found in picture.marks[finding]]


def named(finding: Finding) -> Sequence[str]:
    """Return the names that a finding speaks of: where it is, and what stands between backticks in its evidence."""
    return [finding.where, *(name for text in finding.evidence for name in re.findall(r"`([^`]+)`", text))]
