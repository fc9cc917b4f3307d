"""Operators that run one after another and could be one: runs of element-wise work, attention, folded batch norms."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from perfkit.attribute.intervals import spread
from perfkit.attribute.names import expressions, pattern
from perfkit.attribute.shapes import flops_of
from perfkit.attribute.tokens import backward_of
from perfkit.model.arrays import distinct
from perfkit.model.signs import Chain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from perfkit.attribute.scene import Scene
    from perfkit.attribute.tokens import Behind, Tokens

    Ints = NDArray[np.int64]

__all__ = ["chains"]

ATTENTION: Final = re.compile(rb"[mw][pcorkl]{0,8}s[pcok]{0,4}[mw]")
PRODUCTS: Final = b"mw"
FOLDABLE: Final = re.compile(rb"v(b)")
RUN: Final = re.compile(rb"[prsl](?:[ck]{0,2}[prsl])*")
APART_NS: Final = 200_000
"""Operators further apart than this on the host have something else between them."""
MOST_FUSED: Final = 8
"""Operators that become one: of a longer run, several tensors are made, each of which has to be written. Inductor
writes a tensor once eight reads have come together in it (`realize_acc_reads_threshold` in its `config.py`)."""
SHORTEST_RUN: Final = 3
SHORTEST_NAMED: Final = 2
LEAST_SHARE: Final = 0.002
"""Part of the window below which a chain is not kept."""
MOST: Final = 50
MIX: Final = np.uint64(0x9E3779B97F4A7C15)


class Runs(NamedTuple):
    """Runs of tokens ``[first, last)``; ``kept`` marks the tokens of which the time stays, None the longest of each."""

    pattern: str
    first: Ints
    last: Ints
    kept: bytes | None


def chains(scene: Scene) -> list[Chain]:
    """Return the chains of a timeline, those with most time first."""
    found: list[Chain] = []
    for thread in scene.threads:
        tokens = scene.tokens(thread)
        if len(tokens.row):
            backward = backward_of(scene, tokens)
            for runs in search(scene, tokens):
                found += grouped(scene, tokens, runs, backward)
    return sorted(found, key=lambda chain: -(chain.time_ns - chain.kept_ns + chain.idle_ns))[:MOST]


def search(scene: Scene, tokens: Tokens) -> Iterator[Runs]:
    """Find runs; a token is in one of them at most."""
    letters = bytearray(tokens.letters)
    rest = [match.span() for match in ATTENTION.finditer(letters)]
    rest += written_out(scene, tokens)
    for first, last in rest:
        letters[first:last] = b"x" * (last - first)
    yield of("attention", rest, PRODUCTS)
    yield of("batch_norm", [match.span() for match in FOLDABLE.finditer(letters)], b"v")
    far = np.flatnonzero(tokens.start[1:] - tokens.end[:-1] > APART_NS) + 1
    runs = [match.span() for match in RUN.finditer(letters)]
    yield of("", [part for span in runs for part in split(span, far)], None)


def split(span: tuple[int, int], at: Ints) -> list[tuple[int, int]]:
    """Split a span at those of the ascending places that lie within."""
    first, last = span
    inner = at[np.searchsorted(at, first, "right") : np.searchsorted(at, last)].tolist()
    return list(itertools.pairwise((first, *inner, last)))


def of(name: str, spans: list[tuple[int, int]], kept: bytes | None) -> Runs:
    """Make runs of spans."""
    bounds = np.array(spans, np.int64).reshape(-1, 2)
    return Runs(name, bounds[:, 0], bounds[:, 1], kept)


def written_out(scene: Scene, tokens: Tokens) -> list[tuple[int, int]]:
    """Return the spans of attention calls that fell back to a product, a softmax and a product."""
    work = scene.host.work
    rows, nest = scene.places.operators(tokens.thread)
    name = work.trace.columns["name"][rows[nest.order]]
    inner = np.flatnonzero(work.names.verdicts("operator", "unfused_attention", name) > 0)
    at = distinct(tokens.holding(nest.start[inner]))
    return [(index, index + 1) for index in at[at >= 0].tolist()]


def grouped(scene: Scene, tokens: Tokens, runs: Runs, backward: Behind) -> Iterator[Chain]:
    """Sum the runs of the same operators at the same place."""
    if not len(runs.first):
        return
    strings = scene.host.work.trace.strings
    total, kept, idle, *rest = costs(scene, tokens, runs, backward)
    flops = operations(scene, tokens, runs, backward)
    moments = tokens.start[runs.first]
    classes, module = scene.classes(tokens.thread, moments)
    key = np.stack((alike(tokens, runs), scene.line_strings(tokens.thread, moments), module))
    _, index, group = np.unique(key, axis=1, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    sums = [np.bincount(group, some, len(index)).astype(np.int64) for some in (total, kept, idle, *rest)]
    least = LEAST_SHARE * scene.reading.timeline.window_ns
    for number in np.flatnonzero(sums[0] - sums[1] + sums[2] >= least).tolist():
        mine = np.flatnonzero(group == number)
        first, last = runs.first[mine], runs.last[mine]
        names = tuple(strings[name].rpartition("::")[2] for name in tokens.name[first[0] : last[0]].tolist())
        label = runs.pattern or label_of(names)
        if not label:
            continue
        worst = mine[np.argmax(total[mine])]
        members = spread(first, last)
        start, end = tokens.start[first], tokens.end[last - 1]
        launches = scene.device_time(tokens.thread, start, end)[1].sum() if scene.on_device else len(members)
        yield Chain(
            timeline=scene.id,
            pattern=label,
            operators=names,
            where=scene.places.line_at(tokens.thread, int(moments[worst])),
            module=classes[int(module[worst])],
            calls=len(mine),
            time_ns=int(sums[0][number]),
            kept_ns=int(sums[1][number]),
            idle_ns=int(sums[2][number]),
            launches=int(launches),
            rows=tuple(tokens.row[members].tolist()),
            kernels=scene.kernels(tokens.thread, start, end),
            backward=backward.kernels(scene, first, last) if scene.on_device else (),
            arithmetic_ns=int(sums[3][number]),
            moving_ns=int(sums[4][number]),
            flops=float(flops[mine].sum()),
            calling_ns=int(sums[5][number]),
            records=int(scene.records(tokens.thread, start, end).sum()),
        )


def costs(scene: Scene, tokens: Tokens, runs: Runs, backward: Behind) -> tuple[Ints, ...]:
    """Return what each run takes, what of it stays when it is one operator, and the device's idle time in it.

    Of a thread that computes also what is arithmetic, what would stay without it, and the time to call all operators
    but the first of each run.
    """
    member, length = spread(runs.first, runs.last), runs.last - runs.first
    opens = np.cumsum(length) - length
    own = scene.own_time(tokens.thread, tokens.start[member], tokens.end[member])
    behind = backward.time[member]
    total = np.add.reduceat(own + behind, opens)
    computes = (
        np.zeros(len(member), np.int64) if scene.on_device else arithmetic(scene, tokens, member) * (own + behind)
    )
    calling = scene.calling_time(tokens.thread, tokens.start[member])
    calling[opens] = 0
    moving = np.zeros(len(opens), np.int64)
    if runs.kept is None:
        tensors = -(-length // MOST_FUSED)
        kept = np.minimum(tensors * longest(own, behind, opens), total)
        if not scene.on_device:
            moves = computes == 0
            moving = np.minimum(tensors * longest(own * moves, behind * moves, opens), total)
            kept = np.maximum(kept, np.add.reduceat(computes, opens))
    else:
        stays = np.isin(np.frombuffer(tokens.letters, np.uint8)[member], list(runs.kept))
        kept = np.add.reduceat(np.where(stays, own + behind, 0), opens)
        kept = np.where(length == 1, total // 2, kept)  # a call that holds all of it: about as much is products
    idle = scene.idle_time(tokens.start[runs.first], tokens.end[runs.last - 1])
    idle += np.add.reduceat(backward.idle[member], opens)
    return total, kept, idle, np.add.reduceat(computes, opens), moving, np.add.reduceat(calling, opens)


def longest(own: Ints, behind: Ints, opens: Ints) -> Ints:
    """Return the time of the longest operator of each run, and of the longest backward pass of one."""
    most: Ints = np.maximum.reduceat(own, opens) + np.maximum.reduceat(behind, opens)
    return most


def operations(scene: Scene, tokens: Tokens, runs: Runs, backward: Behind) -> NDArray[np.float64]:
    """Return the operations of the products of each run of attention on a processor, where shapes were recorded.

    Each product has two in its backward pass, and a fused one computes the scores once more: five for two.
    """
    columns, strings = scene.host.work.trace.columns, scene.host.work.trace.strings
    found = np.zeros(len(runs.first))
    if scene.on_device or runs.pattern != "attention" or "shapes" not in columns:
        return found
    for number, (first, last) in enumerate(zip(runs.first.tolist(), runs.last.tolist(), strict=True)):
        for at in range(first, last):
            if tokens.letters[at] in PRODUCTS:
                one = flops_of(strings[int(tokens.name[at])], strings[int(columns["shapes"][tokens.row[at]])])
                found[number] += one * (3.5 if backward.time[at] else 1)
    return found


def arithmetic(scene: Scene, tokens: Tokens, member: Ints) -> Ints:
    """Return 1 for the operators that a processor computes for longer than it moves their data, else 0."""
    verdicts = scene.host.work.names.verdicts("operator", "arithmetic", tokens.name[member])
    return (verdicts > 0).astype(np.int64)


def alike(tokens: Tokens, runs: Runs) -> Ints:
    """Return a number for each run that is the same for runs of the same operators, and hardly for others."""
    member, length = spread(runs.first, runs.last), runs.last - runs.first
    opens = np.cumsum(length) - length
    turn = (np.arange(len(member)) - np.repeat(opens, length)).astype(np.uint64)
    name = tokens.name[member].astype(np.uint64)
    mixed: Ints = np.add.reduceat((name + MIX) * (2 * turn + 1) * (name * MIX + 1), opens).astype(np.int64)
    return mixed


def label_of(names: tuple[str, ...]) -> str:
    """Name a run by the first of the patterns that is in it; a run too short to be worth anything has no name."""
    text = f" {' '.join(names)} "
    if len(names) >= SHORTEST_NAMED:
        for label in expressions()["chain"]:
            if pattern("chain", label).search(text):
                return label
    working = [name for name in names if not pattern("operator", "cast").search(f"aten::{name}")]
    return "pointwise" if len(working) >= SHORTEST_RUN else ""
