"""What loader workers say of themselves, where perfkit recorded them: the cost of a sample, and of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perfkit.attribute.intervals import Union
from perfkit.model.arrays import distinct, quantile
from perfkit.model.attribution import WorkerTime
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.attribute.work import Work

    Ints = NDArray[np.int64]

__all__ = ["worker_threads", "worker_time"]


def rows_of(work: Work, group: str) -> Ints:
    """Return the rows of workers that bear a name of a group."""
    rows = work.trace.rows(Category.ANNOTATION)
    return rows[work.names.match("worker", group, rows)]


def worker_threads(work: Work) -> set[int]:
    """Return the threads that are workers of data loaders."""
    return set(distinct(work.trace.columns["thread"][rows_of(work, "any")]).tolist())


def worker_time(work: Work) -> WorkerTime | None:
    """Sum up what workers noted, or None where they noted nothing.

    Samples that were fetched together count as many, each with an equal part of the time.
    """
    columns, strings = work.trace.columns, work.trace.strings
    batches, samples, collations = (rows_of(work, group) for group in ("batch", "sample", "collate"))
    if not len(batches) or not len(samples):
        return None

    def took(rows: Ints) -> Ints:
        length: Ints = columns["end"][rows] - columns["start"][rows]
        return length

    together = np.array([sample_count(strings[name]) for name in columns["name"][samples].tolist()])
    each = np.repeat(took(samples) / together, together)
    threads = columns["thread"][batches]
    spans = [batches[threads == worker] for worker in distinct(threads).tolist()]
    working = sum(Union.of(columns["start"][rows], columns["end"][rows]).total for rows in spans)
    came = np.array([columns["start"][rows].min() for rows in spans])
    went = np.array([columns["end"][rows].max() for rows in spans])
    present = int((went - came).sum())
    workers = at_once(came, went)
    per_second = len(each) / max(int(took(batches).sum()), 1) * 1e9 * workers
    return WorkerTime(
        workers=workers,
        samples=len(each),
        batches=len(batches),
        sample_ns=round(float(each.mean())),
        sample_p90_ns=round(quantile(each, 0.9)),
        batch_ns=round(float(took(batches).mean())),
        collate_ns=round(float(took(collations).mean())) if len(collations) else 0,
        working_share=working / max(present, 1),
        samples_per_s=per_second,
    )


def at_once(came: Ints, went: Ints) -> int:
    """Return how many there were at the same time, at most: in each epoch there may be new ones."""
    return int((np.searchsorted(np.sort(came), came, "right") - np.searchsorted(np.sort(went), came, "right")).max())


def sample_count(name: str) -> int:
    """Return how many samples an event stands for."""
    number = name.rpartition("#")[2]
    return max(int(number), 1) if number.isdecimal() and len(number) < len("1000000") else 1
