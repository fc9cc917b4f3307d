"""One clock for all ranks: collectives that synchronise their members end on all of them at nearly the same moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from perfkit.model.fleet import RankClock
from perfkit.model.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from perfkit.compare.lanes import Lane
    from perfkit.compare.roster import Member

    Ints = NDArray[np.int64]
    Source = Literal["reference", "collectives", "header", "none"]

__all__ = ["SYNCHRONISING", "Clocks", "align"]

SYNCHRONISING: Final = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "barrier")
"""Kinds in which no member can finish before all have arrived."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """What to add to the times of each member (``epochs``), how sure that is, and how it was found."""

    epochs: Ints
    uncertainty: Ints
    table: Table[RankClock]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Edge:
    """What common collectives say of the clocks of two members: ``other`` is ahead of ``one`` by ``ahead_ns``."""

    one: int
    other: int
    ahead_ns: int
    uncertainty_ns: int
    collectives: int


def align(members: Sequence[Member], lanes: Sequence[Lane]) -> Clocks:
    """Measure the clocks of members against one another, and apply what is more than its uncertainty.

    A clock is measured against that of the first member that it has collectives in common with, be it by way of others.

    Args:
        members: The members.
        lanes: The matched lanes.
    """
    count = len(members)
    trees = spanning_trees(count, edges_of(members, lanes))
    epochs = np.array([member.epoch_ns for member in members], np.int64)
    uncertainty = np.zeros(count, np.int64)
    clocks: list[RankClock | None] = [None] * count
    alone = []
    for root, reached in trees.items():
        member = members[root]
        first = len(reached) > 0 and root == next(iter(trees))
        if count > 1 and not reached:
            alone.append(member.rank)
        kept: Source = "header" if member.comparable else "none"
        clocks[root] = RankClock(member.rank, 0, None, None, 0, "reference" if first or count == 1 else kept)
        for at, (ahead, spread, collectives) in reached.items():
            apply = abs(ahead) > spread or not (member.comparable and members[at].comparable)
            uncertainty[at] = spread
            epochs[at] -= ahead if apply else 0
            source: Source = "collectives" if apply else "header"
            clocks[at] = RankClock(members[at].rank, -ahead if apply else 0, -ahead, spread, collectives, source)
    return Clocks(
        epochs, uncertainty, Table(clock for clock in clocks if clock), tuple(clock_notes(members, trees, alone))
    )


def clock_notes(
    members: Sequence[Member], trees: dict[int, dict[int, tuple[int, int, int]]], alone: Sequence[int]
) -> list[str]:
    """Say which ranks could not be aligned."""
    notes = []
    if alone and len({member.path for member in members}) > 1:  # those of one file have one clock
        shown = ", ".join(map(str, alone[:8])) + (", ..." if len(alone) > 8 else "")  # noqa: PLR2004  a line's worth
        notes.append(
            f"the clocks of ranks {shown} are as their traces have them: "
            "they have no collective in common that ends for all at once"
        )
    together = sum(1 for reached in trees.values() if reached)
    if together > 1:
        notes.append(f"{together} sets of ranks have no collective in common: their clocks are aligned within each set")
    return notes


def edges_of(members: Sequence[Member], lanes: Sequence[Lane]) -> list[Edge]:
    """Compare the ends of each rank in a lane with those of its first rank; lanes of one pair are taken together."""
    seen: dict[tuple[int, int], list[Ints]] = {}
    for lane in lanes:
        if lane.kind not in SYNCHRONISING or not len(lane.runs[0]):
            continue
        one = lane.members[0]
        base = members[one].runs.end_ns[lane.runs[0]] + members[one].epoch_ns
        for other, runs in zip(lane.members[1:], lane.runs[1:], strict=True):
            seen.setdefault((one, other), []).append(members[other].runs.end_ns[runs] + members[other].epoch_ns - base)
    edges = []
    for (one, other), parts in seen.items():
        ahead = np.concatenate(parts)
        low, middle, high = np.percentile(ahead, [10, 50, 90], method="lower").tolist()
        edges.append(Edge(one, other, middle, -(-(high - low) // 2), len(ahead)))
    return edges


def spanning_trees(count: int, edges: Sequence[Edge]) -> dict[int, dict[int, tuple[int, int, int]]]:
    """Join members by their surest edges.

    Returns:
        The first member of each set that is joined -> each other one of it -> by how much its clock is ahead of the
        first one's, how uncertain that is (summed along the way), and from how many collectives it was measured.
    """
    home = list(range(count))

    def find(at: int) -> int:
        while home[at] != at:
            home[at] = home[home[at]]
            at = home[at]
        return at

    beside: dict[int, list[tuple[int, int, Edge]]] = {}
    for edge in sorted(edges, key=lambda edge: (edge.uncertainty_ns, -edge.collectives)):
        one, other = find(edge.one), find(edge.other)
        if one != other:
            home[max(one, other)] = min(one, other)
            beside.setdefault(edge.one, []).append((edge.other, 1, edge))
            beside.setdefault(edge.other, []).append((edge.one, -1, edge))
    trees: dict[int, dict[int, tuple[int, int, int]]] = {}
    seen: set[int] = set()
    for root in range(count):
        if root in seen:
            continue
        reached = {root: (0, 0, 0)}
        pending = [root]
        while pending:
            at = pending.pop()
            for other, sign, edge in beside.get(at, ()):
                if other not in reached:
                    ahead, spread, _ = reached[at]
                    reached[other] = ahead + sign * edge.ahead_ns, spread + edge.uncertainty_ns, edge.collectives
                    pending.append(other)
        seen.update(reached)
        del reached[root]
        trees[root] = dict(sorted(reached.items()))
    return trees
