"""The time of DataLoader workers: each sample, and putting a batch together, noted by the worker itself."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from typing import Any

from .journal import Journal

__all__ = ["flag_of", "time_samples"]

SAMPLE, BATCH, COLLATE = "perfkit.worker.sample", "perfkit.worker.batch", "perfkit.worker.collate"


def flag_of(folder: str, pid: Any) -> str:
    """Return the path of the file that is there while the workers of a process are to be timed."""
    return os.path.join(folder, ".work", f"{pid}.open")


def time_samples(folder: str) -> None:
    """Have the fetchers that workers make time what they do; fetchers of the main process stay as they are."""
    from torch.utils.data import get_worker_info
    from torch.utils.data._utils import fetch

    def timed(kind: Any) -> None:
        initialise = kind.__init__

        def made(fetcher: Any, *arguments: Any, **options: Any) -> None:
            initialise(fetcher, *arguments, **options)
            info = get_worker_info()
            if info is not None:
                Clock(folder, info.id, fetcher)

        kind.__init__ = made

    timed(fetch._MapDatasetFetcher)
    timed(fetch._IterableDatasetFetcher)


class Clock:
    """Times one fetcher of a worker, batch by batch, while there is somebody to read it."""

    def __init__(self, folder: str, worker: int, fetcher: Any) -> None:
        trainer = multiprocessing.parent_process()  # what a fork server forks is another one's child
        parent = os.getppid() if trainer is None else trainer.pid
        self.flag = flag_of(folder, parent)
        path = os.path.join(folder, ".work", f"{parent}.{os.getpid()}.worker.json")
        self.journal = Journal(path)
        self.worker = worker
        self.thread = threading.get_native_id()
        self.fetcher = fetcher
        self.fetch = fetcher.fetch
        fetcher.fetch = self.fetch_batch

    def fetch_batch(self, indices: Any) -> Any:
        """Fetch a batch; only a timed one goes through what stands before the dataset."""
        if not os.path.exists(self.flag):
            return self.fetch(indices)
        fetcher = self.fetcher
        source = "dataset_iter" if hasattr(fetcher, "dataset_iter") else "dataset"
        plain, collate = getattr(fetcher, source), fetcher.collate_fn
        setattr(fetcher, source, TimedSamples(plain, self) if source == "dataset_iter" else TimedItems(plain, self))
        fetcher.collate_fn = self.collated(collate)
        begun = time.time_ns()
        try:
            batch = self.fetch(indices)
        finally:
            setattr(fetcher, source, plain)
            fetcher.collate_fn = collate
        self.note(BATCH, begun)
        self.journal.flush()
        return batch

    def collated(self, collate: Any) -> Any:
        """Time a collate function."""

        def call(samples: Any) -> Any:
            begun = time.time_ns()
            batch = collate(samples)
            self.note(COLLATE, begun)
            return batch

        return call

    def note(self, name: str, begun_ns: int) -> None:
        """Note what ends now."""
        self.journal.add(name, begun_ns, time.time_ns(), self.thread, worker=self.worker)


class TimedSamples:
    """An iterator that notes how long each sample took."""

    def __init__(self, source: Any, clock: Clock) -> None:
        self.source = source
        self.clock = clock

    def __iter__(self) -> TimedSamples:
        return self

    def __next__(self) -> Any:
        begun = time.time_ns()
        sample = next(self.source)
        self.clock.note(SAMPLE, begun)
        return sample


class TimedItems:
    """A dataset that notes how long each item took; in all else it is the dataset itself."""

    def __init__(self, dataset: Any, clock: Clock) -> None:
        self._perfkit_dataset = dataset
        self._perfkit_clock = clock
        if hasattr(dataset, "__getitems__"):
            self.__getitems__ = self._items

    def __getattr__(self, name: str) -> Any:
        return getattr(self._perfkit_dataset, name)

    def __getitem__(self, index: Any) -> Any:
        begun = time.time_ns()
        item = self._perfkit_dataset[index]
        self._perfkit_clock.note(SAMPLE, begun)
        return item

    def _items(self, indices: Any) -> Any:
        begun = time.time_ns()
        items = self._perfkit_dataset.__getitems__(indices)
        self._perfkit_clock.note(f"{SAMPLE}s#{len(items)}", begun)
        return items
