"""What one rank says, from its own trace alone: a table small enough to be sent, whatever the size of the trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from perfkit.attribute.assemble import assemble, read_devices, read_timelines
from perfkit.attribute.collective_runs import NO_RUNS, collective_runs
from perfkit.attribute.host import Host
from perfkit.attribute.places import Places
from perfkit.attribute.shorten import shorten
from perfkit.attribute.work import collect
from perfkit.model.diagnosis import TraceSummary
from perfkit.model.fleet import RankSummary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.attribute.timeline import Device, Reading
    from perfkit.model.fleet import CollectiveRuns
    from perfkit.model.trace import Trace

    Found = tuple[Device, Reading, str]
    """A device, its timeline, and what the steps were found from."""

__all__ = ["summarise_rank", "summarise_ranks"]


def summarise_rank(trace: Trace, *, window: Literal["steps", "device-span"] = "steps") -> RankSummary:
    """Summarise a trace of one rank; of a trace that holds several, the first as in `summarise_ranks`."""
    return summarise_ranks(trace, window=window)[0]


def summarise_ranks(trace: Trace, *, window: Literal["steps", "device-span"] = "steps") -> tuple[RankSummary, ...]:
    """Summarise each rank in a trace.

    A process with device work is a rank. One that communicates on several devices, in a trace that does not say its
    rank, is a rank for each of them: it drives them as if each had a process of its own.

    Args:
        trace: A trace with `perfkit.model.columns.COLLECTIVE_FIELDS` beside the default ones; without them, groups and
            sizes of messages are not known.
        window: As in `perfkit.attribute.attribute`.

    Returns:
        The summaries by device, then process: at least one, also of a trace without device work. The rank of a trace
        is its own only if it holds one.
    """
    host = Host(collect(trace))
    places = Places(host)
    found = read_devices(host, places, window)
    summary = TraceSummary.of(trace)
    if not found:
        readings, source = read_timelines(host, places, window)
        attribution = shorten(assemble(host, places, readings, source))
        timeline = attribution.timelines[0].id if attribution.timelines else ""
        process = attribution.timelines[0].process if attribution.timelines else ""
        return (RankSummary(summary, trace.rank, process, attribution, NO_RUNS, timeline),)
    ranks = split(host, found, one_rank=trace.rank is not None)
    runs = [runs_of(host, places, some) for some in ranks]
    host.layers.cache_clear()  # as large as the trace, and not asked for any more
    host.waits.cache_clear()
    return tuple(
        RankSummary(
            trace=summary,
            rank=trace.rank if len(ranks) == 1 else None,
            process=some[0][1].timeline.process,
            attribution=shorten(assemble(host, places, [reading for _, reading, _ in some], some[0][2])),
            collectives=collectives,
            timeline=timeline,
        )
        for some, (collectives, timeline) in zip(ranks, runs, strict=True)
    )


def split(host: Host, found: Sequence[Found], *, one_rank: bool) -> list[list[Found]]:
    """Split the devices of a trace into ranks, in order of device, then process."""
    by_process: dict[int, list[Found]] = {}
    for entry in found:
        by_process.setdefault(entry[0].process, []).append(entry)
    ranks = []
    for some in by_process.values():
        talking = [entry for entry in some if communication(host, entry[0])]
        if len(talking) > 1 and not (one_rank and len(by_process) == 1):
            ranks += [[entry] for entry in some]
        else:
            ranks.append(some)
    return sorted(ranks, key=lambda some: (some[0][0].index, some[0][0].process))


def communication(host: Host, device: Device) -> int:
    """Return how many activities of a device communicate."""
    return int(np.count_nonzero(host.work.activities.communicates[device.mine]))


def runs_of(host: Host, places: Places, found: Sequence[Found]) -> tuple[CollectiveRuns, str]:
    """Return the runs on the device of a rank that communicates most (the first of equals), and its timeline's id."""
    device, reading, _ = max(found, key=lambda entry: communication(host, entry[0]))
    line = reading.timeline
    return collective_runs(host, places, device, (line.start_ns, line.end_ns)), line.id
