"""What many ranks say together, as every report says it: tables of cells, and sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from perfkit.model.quantity import count, duration, percent, rate, sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from perfkit.model.fleet import Fleet, FleetCollective, ProcessGroup, RankRow

__all__ = ["COLLECTIVE_HEAD", "RANK_HEAD", "build", "collective_rows", "head", "rank_rows", "remarks", "title"]

RANK_HEAD: Final = ("rank", "window", "computing", "waiting", "moving", "idle", "late", "kept waiting")
"""Columns of the table of ranks: shares of the window, collectives it was last to, and what the others waited."""

PROCESS_HEAD: Final = ("process", "window", "computing", "nothing to do", "idle else")
"""Columns of the table of processes that are no ranks."""

COLLECTIVE_HEAD: Final = ("collective", "calls", "skew", "longest", "waiting", "moving", "bus", "last")
"""Columns of the table of collectives: skew is the median and the longest time from first to last arrival."""

NAMED: Final = 8


def title(fleet: Fleet) -> str:
    """Say what the members of a fleet are."""
    return "Ranks" if fleet.of == "ranks" else "Processes"


def head(fleet: Fleet) -> tuple[str, ...]:
    """Return the names of the columns of `rank_rows`."""
    return RANK_HEAD if fleet.of == "ranks" else PROCESS_HEAD


def rank_rows(fleet: Fleet) -> list[tuple[str, ...]]:
    """Return a row for each rank, the one that is waited for longest first, or for each process."""
    if fleet.of == "processes":
        return [process_row(row, fleet.name_of(row)) for row in fleet.ranks]
    return [rank_row(row) for row in sorted(fleet.ranks, key=lambda row: (-row.caused_wait_ns, row.rank))]


def rank_row(row: RankRow) -> tuple[str, ...]:
    """Return the cells of a rank; communication that is not split counts as moving, as it does in the window."""
    moving = row.exposed_transfer_ns + row.exposed_unknown_ns
    shares = (row.busy.get("compute", 0), row.exposed_wait_ns, moving, sum(row.idle.values()))
    return (
        str(row.rank),
        duration(row.window_ns),
        *(percent(ns, row.window_ns) for ns in shares),
        f"{row.late:,}",
        duration(row.caused_wait_ns),
    )


def process_row(row: RankRow, name: str) -> tuple[str, ...]:
    """Return the cells of a process."""
    unasked = row.idle.get("no_request", 0) + row.idle.get("no_work", 0)
    shares = (row.busy.get("compute", 0), unasked, sum(row.idle.values()) - unasked)
    return (name.removeprefix("process "), duration(row.window_ns), *(percent(ns, row.window_ns) for ns in shares))


def collective_rows(fleet: Fleet) -> list[tuple[str, ...]]:
    """Return a row for each kind and group, that with most waiting first; the first cell holds a name of the trace."""
    return [collective_row(row) for row in fleet.collectives]


def collective_row(row: FleetCollective) -> tuple[str, ...]:
    """Return the cells of a kind of collective in one group; times are summed over its ranks and calls."""
    group = row.group.description or row.group.name
    return (
        f"{row.kind} {group}".rstrip(),
        f"{row.calls:,}",
        duration(row.skew_median_ns),
        duration(row.skew_max_ns),
        duration(row.wait_ns),
        duration(row.transfer_ns),
        rate(row.bus_bytes_per_s) if row.bus_bytes_per_s else "",
        f"rank {row.last_rank}, {row.last_calls:,}x",
    )


def remarks(fleet: Fleet) -> list[str]:
    """Say who is waited for, who is not there, and how far the clocks can be trusted."""
    return [
        *([sentence(fleet.verdict)] if fleet.verdict else []),
        *(f"Rank {row.rank}'s trace cannot be read: {row.message}" for row in fleet.failed if row.rank is not None),
        *(row.message for row in fleet.failed if row.rank is None),
        *absent(fleet),
        *(
            f"Rank {twice.rank} has {count(1 + len(twice.left_out), 'trace')}: {twice.kept} is taken, not "
            f"{listed(twice.left_out)}."
            for twice in fleet.duplicates
        ),
        *clocks(fleet),
        *map(sentence, fleet.notes),
    ]


def absent(fleet: Fleet) -> Iterable[str]:
    """Name the ranks of which there is no trace."""
    if not fleet.missing:
        return
    of = f" of {fleet.world_size:,}" if fleet.world_size else ""
    names = listed([str(rank) for rank in fleet.missing])
    yield f"There is no trace of {count(len(fleet.missing), 'rank')}{of}: {names}."


def clocks(fleet: Fleet) -> Iterable[str]:
    """Say which clocks were moved, and which cannot be compared."""
    moved = [row for row in fleet.clocks if row.source == "collectives"]
    alone = [str(row.rank) for row in fleet.clocks if row.source == "none"]
    if moved:
        largest = max(moved, key=lambda row: abs(row.applied_ns))
        unsure = max(row.uncertainty_ns or 0 for row in moved)
        yield (
            f"The clocks of {count(len(moved), 'rank')} were set by common collectives, that of rank {largest.rank} by "
            f"{duration(abs(largest.applied_ns))}, the most; they are certain to {duration(unsure)}."
        )
    if alone and len(alone) < len(fleet.ranks):
        yield f"The clocks of some ranks cannot be compared with the others: {listed(alone)}."


def listed(names: Sequence[str]) -> str:
    """List some names, and how many more there are."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def build(fleet: Fleet, *, top: int | None = None) -> dict[str, Any]:
    """Return the fleet as plain dicts and lists, to the contract of the JSON report."""
    late = fleet.straggler
    return {
        "of": fleet.of,
        "verdict": fleet.verdict,
        "world_size": fleet.world_size,
        "straggler": late and {**late._asdict(), "worst": late.worst._asdict(), "evidence": list(late.evidence)},
        "ranks": [{**row._asdict(), "busy": dict(row.busy), "idle": dict(row.idle)} for row in fleet.ranks],
        "clocks": [row._asdict() for row in fleet.clocks],
        "collectives": [
            {**row._asdict(), "group": of_group(row.group), "ranks": list(row.ranks)} for row in fleet.collectives[:top]
        ],
        "late_arrivals": [row._asdict() for row in fleet.late_arrivals[:top]],
        "missing": list(fleet.missing),
        "duplicates": [{**row._asdict(), "left_out": list(row.left_out)} for row in fleet.duplicates],
        "failed": [row._asdict() for row in fleet.failed],
        "unmatched": fleet.unmatched,
        "notes": list(fleet.notes),
    }


def of_group(group: ProcessGroup) -> dict[str, Any]:
    """Return a process group as a dict."""
    return {**group._asdict(), "ranks": list(group.ranks)}
