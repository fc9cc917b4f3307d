"""Summaries made by hand: a job as a table of arrivals, of which each rank tells its part by its own clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from perfkit.model.attribution import Attribution, Timeline, Window
from perfkit.model.diagnosis import TraceSummary
from perfkit.model.fleet import COLLECTIVE_KINDS, CollectiveRuns, ProcessGroup, RankSummary
from perfkit.model.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT = ProcessGroup("0", "default_pg", 0)
US = 1_000
EPOCH_NS = 1_700_000_000_000_000_000


@dataclass
class Run:
    """One run on one rank, by the right clock."""

    start: int
    end: int
    kind: str = "all_reduce"
    group: ProcessGroup = DEFAULT
    bytes: int = -1
    sequence: int = -1
    since: Mapping[str, int] = field(default_factory=dict)


def call(arrivals: Sequence[int], transfer: int = 50 * US, **more: object) -> list[Run]:
    """A collective: one run for each arrival, all of which end together."""
    end = max(arrivals) + transfer
    return [Run(arrival, end, **more) for arrival in arrivals]  # type: ignore[arg-type]


def summary(
    rank: int | None,
    runs: Sequence[Run],
    *,
    ahead_ns: int = 0,
    begin_ns: int = 0,
    window: tuple[int, int] | None = None,
    path: str = "",
    world_size: int | None = None,
    clock: str = "unix",
    hidden: Mapping[int, int] | None = None,
) -> RankSummary:
    """A rank whose clock is ahead.

    Between two arrivals comes the exposed part of the first run, then what `since` of the second names, else compute.
    `hidden` maps runs to the length at their start that computation hides.
    """
    runs = sorted(runs, key=lambda run: (run.start, run.end))
    groups = tuple(dict.fromkeys(run.group for run in runs))
    start, end = (np.array([getattr(run, name) for run in runs], np.int64) for name in ("start", "end"))
    pieces = start + np.array([(hidden or {}).get(row, 0) for row in range(len(runs))], np.int64)
    buckets = tuple(dict.fromkeys(["compute", "exposed_communication", *(name for run in runs for name in run.since)]))
    since = np.zeros((len(runs), len(buckets)), np.int64)
    for row, run in enumerate(runs):
        since[row] = [run.since.get(name, 0) for name in buckets]
        since[row, 1] = max(0, min(runs[row - 1].end, run.start) - int(pieces[row - 1])) if row else 0
        since[row, 0] += run.start - (runs[row - 1].start if row else begin_ns) - since[row].sum()
    low, high = window or (begin_ns, int(end.max(initial=begin_ns)))
    inside = np.clip(end, low, high) - np.clip(pieces, low, high)
    exposed = int(inside.sum())
    line = Timeline(
        id="1/gpu0", kind="device", window_kind="device-span", process="1", device=0, device_name="", uuid="",
        start_ns=low, end_ns=high,
        busy={"compute": high - low - exposed, "exposed_communication": exposed, "exposed_copy": 0},
        kernel_union_ns=0, kernel_sum_ns=0, communication_ns=0, copy_ns=0, idle={}, activities=0,
        unlinked_activities=0, lead_in_ns=0, lead_out_ns=0, confidence="high", confidence_reason="", steps=Table(),
    )  # fmt: skip
    attribution = Attribution(
        window=Window("device-span", "none", ()), timelines=Table([line]), blame=Table(), blocked=Table(),
        operators=Table(), kernels=Table(), copies=Table(), collectives=Table(), launches=Table(), defects=(),
    )  # fmt: skip
    collectives = CollectiveRuns(
        groups=groups,
        buckets=buckets,
        kind=np.array([COLLECTIVE_KINDS.index(run.kind) for run in runs], np.int8),
        group=np.array([groups.index(run.group) for run in runs], np.int32),
        bytes=np.array([run.bytes for run in runs], np.int64),
        sequence=np.array([run.sequence for run in runs], np.int64),
        start_ns=start,
        end_ns=end,
        stream=np.full(len(runs), 7, np.int32),
        exposed_ns=inside,
        since_ns=since,
        piece_run=np.arange(len(runs), dtype=np.int32),
        piece_start_ns=pieces,
        piece_end_ns=end,
        window_start_ns=low,
        window_end_ns=high,
        left_out=0,
        left_out_exposed_ns=0,
    )
    trace = TraceSummary(
        path or f"rank{rank}.json", "torch-profiler", EPOCH_NS + ahead_ns, clock, (), rank, world_size, len(runs), ()
    )
    return RankSummary(trace, rank, "1", attribution, collectives, line.id)


def job(calls: Sequence[Sequence[Run]], ahead: Sequence[int] = (), **more: object) -> list[RankSummary]:
    """The ranks of calls that all of them take part in."""
    return [
        summary(rank, [call[rank] for call in calls], ahead_ns=ahead[rank] if ahead else 0, **more)  # type: ignore[arg-type]
        for rank in range(len(calls[0]))
    ]
