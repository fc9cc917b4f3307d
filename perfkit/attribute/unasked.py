"""When a host thread had nothing to do: no request was open for it, or it waited to be given work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perfkit.attribute.host import Layer
from perfkit.attribute.intervals import EMPTY, Nest
from perfkit.model.arrays import distinct
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from perfkit.attribute.host import Host

__all__ = ["makes_steps", "unasked", "without_work"]


def unasked(host: Host, thread: int) -> tuple[Layer, Layer]:
    """Return when no request was open for a thread, and when it waited to be given something to do."""
    return without_request(host, thread), without_work(host, thread)


def without_request(host: Host, thread: int) -> Layer:
    """Return when no request was open that a thread had to do with.

    Those are the ones that are marked on it; where none is, those within which it had operators.
    """
    columns = host.work.trace.columns
    rows = host.requests(int(host.work.process_of_thread[thread]))
    mine = rows[columns["thread"][rows] == thread]
    if not len(mine):
        began = columns["start"][host.of_thread(thread, Category.OPERATOR)]
        within = np.searchsorted(began, columns["start"][rows]) < np.searchsorted(began, columns["end"][rows])
        mine = rows[within] if within.any() else rows
    return Layer.outside("no_request", columns["start"][mine], columns["end"][mine])


def without_work(host: Host, thread: int) -> Layer:
    """Return when a thread waited to be given something to do, as its stack shows; one that makes steps never does."""
    columns, names = host.work.trace.columns, host.work.names
    rows = host.of_thread(thread, Category.PYTHON)
    waits, asked = (names.match("python", group, rows) for group in ("waits_for_work", "works_when_asked"))
    if makes_steps(host, thread) or not (waits | asked).any():
        return Layer("no_work", EMPTY, EMPTY, EMPTY)
    start, end = columns["start"][rows], columns["end"][rows]
    edges = distinct(np.concatenate((start, end)))
    inner = Nest(start, end).innermost(edges[:-1])
    alone = np.flatnonzero((inner >= 0) & asked[inner])
    start, end = np.concatenate((start[waits], edges[alone])), np.concatenate((end[waits], edges[alone + 1]))
    order = np.argsort(start, kind="stable")
    return Layer.of("no_work", np.concatenate((rows[waits], rows[inner[alone]]))[order], start[order], end[order])


def makes_steps(host: Host, thread: int) -> bool:
    """Tell whether a thread has operators, and marks of steps or an optimizer's."""
    rows = host.of_thread(thread, Category.ANNOTATION)
    names = host.work.names
    marked = names.match("host", "step", rows) | names.match("host", "optimizer", rows)
    return bool(marked.any()) and len(host.of_thread(thread, Category.OPERATOR)) > 0
