"""Runs tasks in processes of their own: one that dies takes nothing with it but its own task.

The processes are loky's: they do not import the user's main script again, as multiprocessing's do, and tell by what
signal one of them was killed. Where loky is not installed, multiprocessing's have to do.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections import deque
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from perfkit.distribute.outcome import Lost, Outcome, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from concurrent.futures import Future

__all__ = ["in_processes"]

Task = TypeVar("Task")
Result = TypeVar("Result")

_AHEAD: Final = 2
"""Tasks handed over for each process: the next one lies ready while the result of the last is being looked at."""

_EXIT_CODES: Final = re.compile(r"exit codes of the workers are \{(.+?)\}")


def in_processes(
    function: Callable[[Task], Result], tasks: Sequence[Task], jobs: int
) -> Generator[Outcome[Result], None, None]:
    """Call a function for each task and yield what it returns, in the order in which tasks are done.

    When a process dies, the tasks that were under way are tried again, each alone: it may have been one of the others
    that took the memory. Closing the generator, or an interruption, ends the processes at once.

    Args:
        function: A function of a module; it, the tasks and the results are pickled.
        tasks: Its arguments.
        jobs: Number of processes.
    """
    waiting, suspects = deque(range(len(tasks))), deque[int]()
    while waiting:
        for outcome in _until_one_dies(function, tasks, waiting, jobs):
            if isinstance(outcome.result, _Died):
                suspects.append(outcome.place)
            else:
                yield Outcome(outcome.place, outcome.result)
    while suspects:
        for outcome in _until_one_dies(function, tasks, deque([suspects.popleft()]), 1):
            result = outcome.result
            yield Outcome(outcome.place, Lost(result.reason) if isinstance(result, _Died) else result)


class _Died(NamedTuple):
    """What a task comes to whose process died, or that was waiting for one that did."""

    reason: str


def _until_one_dies(
    function: Callable[[Task], Result], tasks: Sequence[Task], waiting: deque[int], jobs: int
) -> Generator[Outcome[Result | _Died], None, None]:
    """Work off the waiting tasks, until none is left or a process dies."""
    running: dict[Future[Result], int] = {}
    executor, end = _executor(jobs)
    dead = False
    try:
        while running or (waiting and not dead):
            while waiting and not dead and len(running) < jobs * _AHEAD:
                try:
                    with _deaf_to_interruptions():
                        running[executor.submit(function, tasks[waiting[0]])] = waiting[0]
                except BrokenProcessPool:
                    dead = True
                else:
                    waiting.popleft()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                result = _result_of(future)
                dead = dead or isinstance(result, _Died)
                yield Outcome(running.pop(future), result)
    finally:
        end()


def _executor(jobs: int) -> tuple[Any, Callable[[], None]]:
    """Return what runs tasks, and what ends its processes at once."""
    try:
        from loky import ProcessPoolExecutor
    except ImportError:
        return _executor_of_multiprocessing(jobs)
    executor = ProcessPoolExecutor(jobs, timeout=None, initializer=_begin_as_worker, env=_quiet_crashes())
    return executor, lambda: executor.shutdown(wait=True, kill_workers=True)


def _executor_of_multiprocessing(jobs: int) -> tuple[Any, Callable[[], None]]:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    executor = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_begin_as_worker)

    def end() -> None:
        for process in list((executor._processes or {}).values()):  # noqa: SLF001  public from Python 3.14 on
            process.kill()
        executor.shutdown(wait=True, cancel_futures=True)

    return executor, end


def _result_of(future: Future[Result]) -> Result | Lost | _Died:
    """Return what the function returned, or what became of it."""
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, BrokenProcessPool):
        codes = _EXIT_CODES.search(str(error))
        return _Died(f"the process that read it died{f' of {codes[1]}' if codes else ''}: out of memory?")
    return Lost(describe(error))


def _begin_as_worker() -> None:
    """Leave interruptions to the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _quiet_crashes() -> dict[str, str]:
    """Return the environment in which loky prints no stack of a crash, unless the user asked for it."""
    return {"PYTHONFAULTHANDLER": os.environ.get("PYTHONFAULTHANDLER", "")}


@contextmanager
def _deaf_to_interruptions() -> Generator[None, None, None]:
    """Start processes that do not hear the keyboard's interruption even before they can say so themselves."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
