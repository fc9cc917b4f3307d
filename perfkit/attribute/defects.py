"""What the attribution found wrong with a trace: things that a reader must know before believing a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perfkit.attribute.host import CODE, Host
from perfkit.model.trace import Category, Defect

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perfkit.attribute.timeline import Reading

__all__ = ["find_defects"]


def find_defects(host: Host, readings: Sequence[Reading]) -> tuple[Defect, ...]:
    """Return the defects that show only once activities, launches and threads are put together."""
    counted = [*activity_defects(host), *silence(host, readings)]
    return tuple(Defect(kind, count, -1, message) for kind, count, message in counted if count)


def activity_defects(host: Host) -> Iterator[tuple[str, int, str]]:
    """Count activities that overlap on one stream, have no launch, or start before it."""
    activities, calls = host.work.activities, host.work.calls
    if not len(activities.row):
        lost = int(calls.launches.sum())
        yield (
            "no_device_activity",
            lost,
            f"{lost:,} launches but no device activity: was ProfilerActivity.CUDA on, and may this user profile?",
        )
        return
    order = np.argsort(activities.track, kind="stable")
    track, start, end = activities.track[order], activities.start[order], activities.end[order]
    first = np.flatnonzero(np.append(True, track[1:] != track[:-1]))
    reach = np.concatenate([np.maximum.accumulate(part) for part in np.split(end, first[1:])])
    overlaps = int(((start[1:] < reach[:-1]) & (track[1:] == track[:-1])).sum())
    yield (
        "overlapping_activities",
        overlaps,
        f"{overlaps:,} activities start before the one before them on their stream ends",
    )
    orphans = int((activities.call < 0).sum())
    yield (
        "activities_without_launch",
        orphans,
        f"{orphans:,} of {len(activities.row):,} activities have no launch in the recording: "
        "they count as busy, the gaps before them as unattributed",
    )
    launching = np.flatnonzero(calls.with_activity | (calls.launches & (calls.correlation >= 0)))
    key = np.stack([calls.process[launching].astype(np.int64), calls.correlation[launching]])
    repeated = len(launching) - np.unique(key, axis=1).shape[1]
    yield (
        "repeated_correlation",
        repeated,
        f"{repeated:,} launches bear the correlation of another: activities go to the latest one before them",
    )
    impossible = int(activities.impossible.sum())
    yield (
        "impossible_duration",
        impossible,
        f"{impossible:,} activities end after a synchronization that waited for them: taken as no time at all",
    )
    linked = activities.call >= 0
    early = int((activities.start[linked] < calls.start[activities.call[linked]]).sum()) if len(calls.row) else 0
    yield (
        "activity_before_launch",
        early,
        f"{early:,} activities start before their launch: host and device clocks disagree",
    )


def silence(host: Host, readings: Sequence[Reading]) -> Iterator[tuple[str, int, str]]:
    """Count the moments at which a launching thread shows no event although the device waits for it."""
    silent = "unattributed_host_silent"
    count = sum(int(reading.losses.pieces[CODE[silent]]) for reading in readings)
    silent_ns = sum(reading.timeline.idle.get(silent, 0) for reading in readings)
    stacks = len(host.work.trace.rows(Category.PYTHON))
    advice = (
        "it waits for another thread or runs unrecorded code"
        if stacks
        else "record with with_stack=True to see Python code"
    )
    yield (
        "host_events_missing",
        count,
        f"at {count:,} moments ({silent_ns / 1e6:.3f} ms) the host thread to blame shows no event: {advice}",
    )
