"""The operators of a thread as a text: one letter for each by what it does, in which runs can be searched for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from perfkit.attribute.host import Layer
from perfkit.attribute.intervals import spread
from perfkit.model.arrays import distinct
from perfkit.model.columns import MISSING_INT
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.attribute.scene import Scene

    Ints = NDArray[np.int64]

__all__ = ["Behind", "Tokens", "backward_of", "tokens_of"]

LETTERS: Final = (
    ("matrix", "w"),
    ("product", "m"),
    ("convolution", "v"),
    ("pointwise", "p"),
    ("join", "k"),
    ("cast", "c"),
    ("reduction", "r"),
    ("softmax", "s"),
    ("loss", "l"),
    ("batch_norm", "b"),
    ("attention", "a"),
)
"""Group of names to letter; of several groups that a name is in, the later one decides. Everything else is ``o``."""


class Tokens(NamedTuple):
    """Operators of the forward pass that did work and were called by no other operator, by start.

    ``row`` is each one's row, ``name`` its string, ``letters`` one byte for each.
    """

    thread: int
    row: Ints
    start: Ints
    end: Ints
    name: NDArray[np.int32]
    letters: bytes

    def holding(self, times: Ints) -> Ints:
        """Return the position of the token around each time, or -1."""
        return Layer("", self.start, self.end, self.row).holding(times)


class Behind(NamedTuple):
    """The backward pass of tokens: its time and its idle time for each, and its nodes, by token, then start."""

    time: Ints
    idle: Ints
    token: Ints
    thread: Ints
    start: Ints
    end: Ints

    def kernels(self, scene: Scene, first: Ints, last: Ints) -> tuple[tuple[int, ...], ...]:
        """Return the rows of the kernels that the nodes of each run of tokens ``[first, last)`` launched, in order."""
        low, high = np.searchsorted(self.token, first), np.searchsorted(self.token, last)
        some = spread(low, high)
        run = np.repeat(np.arange(len(first)), high - low)
        launched: dict[int, list[tuple[int, ...]]] = {}
        for thread in distinct(self.thread[some]).tolist():
            mine = some[self.thread[some] == thread]
            order = np.argsort(self.start[mine], kind="stable")
            nodes, of = mine[order], run[self.thread[some] == thread][order]
            for number, rows in zip(
                of.tolist(), scene.launches(thread, self.start[nodes], self.end[nodes]), strict=True
            ):
                launched.setdefault(number, []).append(rows)
        runs = (tuple(row for rows in launched[number] for row in rows) for number in sorted(launched))
        return tuple(rows for rows in runs if rows)


def tokens_of(scene: Scene, thread: int) -> Tokens:
    """Return the tokens of a thread within the window; what loaders and optimizers do is not among them."""
    host, work = scene.host, scene.host.work
    columns, names = work.trace.columns, work.names
    rows, nest = scene.places.operators(thread)
    rows = rows[nest.order].astype(np.int64)
    name = columns["name"][rows]
    native = names.verdicts("operator", "native", name) > 0
    outer = native & ((nest.parent < 0) | ~native[nest.parent])
    outer &= (nest.start >= scene.low) & (nest.start < scene.high)
    outer &= names.verdicts("operator", "view", name) == 0
    hollow = names.verdicts("operator", "hollow", name) > 0
    holds = np.zeros(len(rows), bool)
    holds[nest.parent[nest.parent >= 0]] = True
    outer &= holds | ~hollow
    backward = rows[names.verdicts("operator", "backward", name) > 0]
    ranges = host.of_thread(thread, Category.ANNOTATION)
    updates = ranges[names.match("host", "update", ranges)]
    for some in (backward, updates, host.loaders(thread)):
        layer = Layer.of("", some, columns["start"][some], columns["end"][some])
        outer &= layer.holding(nest.start) < 0
    at = np.flatnonzero(outer)
    letter = np.full(len(at), ord("o"), np.uint8)
    for group, byte in LETTERS:
        letter[names.verdicts("operator", group, name[at]) > 0] = ord(byte)
    return Tokens(thread, rows[at], nest.start[at], nest.end[at], name[at], letter.tobytes())


def backward_of(scene: Scene, tokens: Tokens) -> Behind:
    """Return the backward pass of each token: the nodes with its operators' numbers."""
    work = scene.host.work
    columns, names = work.trace.columns, work.names
    time, idle = np.zeros(len(tokens.row), np.int64), np.zeros(len(tokens.row), np.int64)
    if "sequence" not in columns or not len(tokens.row):
        none = np.empty(0, np.int64)
        return Behind(time, idle, none, none, none, none)
    rows = work.trace.rows(Category.OPERATOR)
    rows = rows[columns["sequence"][rows] != MISSING_INT]
    node = names.match("operator", "backward", rows)
    forward = rows[~node & (columns["thread"][rows] == tokens.thread)]
    forward = forward[np.lexsort((columns["start"][forward], columns["sequence"][forward]))]
    number = columns["sequence"][forward]
    # Of the operators with one number, the last made the node; those before it made none.
    last = np.append(number[1:] != number[:-1], True)[: len(forward)]
    forward, number = forward[last], number[last]
    nodes = rows[node]
    nodes = nodes[np.isin(columns["sequence"][nodes], number)] if len(number) else nodes[:0]
    token = tokens.holding(columns["start"][forward[np.searchsorted(number, columns["sequence"][nodes])]])
    nodes, token = nodes[token >= 0], token[token >= 0]
    thread = columns["thread"][nodes]
    kept = [np.empty((4, 0), np.int64)]
    for index in distinct(thread).tolist():
        some = np.flatnonzero(thread == index)
        some = some[np.argsort(columns["start"][nodes[some]], kind="stable")]
        start, end = columns["start"][nodes[some]], columns["end"][nodes[some]]
        # A node lies in the engine's call for it: the outer of the two counts.
        outer = np.append(True, start[1:] >= np.maximum.accumulate(end)[:-1])[: len(some)]
        some, start, end = some[outer], start[outer], end[outer]
        np.add.at(time, token[some], scene.own_time(index, start, end))
        np.add.at(idle, token[some], scene.idle_time(start, end))
        kept.append(np.stack((token[some], np.full(len(some), index), start, end)))
    found = np.concatenate(kept, axis=1)
    return Behind(time, idle, *found[:, np.lexsort((found[2], found[0]))])
