"""Where the recorder meets the program: the steps of torch's own classes, and every way in which a process ends."""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from .recorder import Recorder
from .service import watch_requests
from .window import OTHERS
from .workers import time_samples

__all__ = ["start"]


def start(plan: str) -> None:
    """Watch this process, as planned."""
    wanted = json.loads(plan)
    undo: list[Any] = []

    def leave() -> None:
        while undo:
            undo.pop()()

    recorder = Recorder(wanted, leave)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=recorder.after_fork)
    OTHERS.watch()
    OTHERS.on_start = lambda: recorder.finish("the program began a recording of its own")
    undo += [watch_optimizers(recorder), watch_loaders(recorder), watch_profiler_steps(recorder)]
    undo += [watch_requests(recorder.note_request)]
    time_samples(wanted["folder"])
    watch_exits(recorder)
    recorder.watch_clock()


def watch_optimizers(recorder: Recorder) -> Any:
    """Take each step of an optimizer for one of the program; returns what undoes that."""
    from torch.optim import Optimizer
    from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

    begun: dict[int, int] = {}

    def begins(optimizer: Any, _arguments: Any, _options: Any) -> None:
        if recorder.phase == "recording":
            begun[id(optimizer)] = time.time_ns()

    def stepped(optimizer: Any, _arguments: Any, _options: Any) -> None:
        start_ns = begun.pop(id(optimizer), 0)
        if start_ns:
            name = f"Optimizer.step#{type(optimizer).__name__}.step"
            recorder.journal.add(name, start_ns, time.time_ns(), threading.get_native_id(), "cpu_op")
        recorder.tick("Optimizer.step", id(optimizer))

    def made(optimizer: Any, *arguments: Any, **options: Any) -> None:
        recorder.optimizers += 1
        initialise(optimizer, *arguments, **options)

    initialise = Optimizer.__init__
    Optimizer.__init__ = made
    hooks = [register_optimizer_step_pre_hook(begins), register_optimizer_step_post_hook(stepped)]

    def undo() -> None:
        for hook in hooks:
            hook.remove()
        if Optimizer.__init__ is made:
            Optimizer.__init__ = initialise

    return undo


def watch_loaders(recorder: Recorder) -> Any:
    """Take each request for a batch for the beginning of a step, and note how long it took."""
    from torch.utils.data.dataloader import _BaseDataLoaderIter

    fetch = _BaseDataLoaderIter.__next__

    def next_batch(iterator: Any) -> Any:
        recorder.tick("DataLoader", 0)
        begun = time.time_ns() if recorder.phase == "recording" else 0
        try:
            return fetch(iterator)
        except StopIteration:
            recorder.end_epoch()
            raise
        finally:
            if begun:
                name = getattr(iterator, "_profile_name", "enumerate(DataLoader)#__next__")
                recorder.journal.add(name, begun, time.time_ns(), threading.get_native_id(), "cpu_op")

    _BaseDataLoaderIter.__next__ = next_batch

    def undo() -> None:
        if _BaseDataLoaderIter.__next__ is next_batch:
            _BaseDataLoaderIter.__next__ = fetch

    return undo


def watch_profiler_steps(recorder: Recorder) -> Any:
    """Take the steps that the program tells its own profiler."""
    from torch.profiler import profile

    told = profile.step

    def step(profiler: Any) -> Any:
        recorder.tick("ProfilerStep", 0)
        return told(profiler)

    profile.step = step

    def undo() -> None:
        if profile.step is step:
            profile.step = told

    return undo


def watch_exits(recorder: Recorder) -> None:
    """Save what is recorded, however the process ends, as long as it can still run Python."""
    atexit.register(leave, recorder, "the program ended")
    leave_at_once = os._exit

    def os_exit(status: int) -> None:
        leave(recorder, "the program ended at once")
        leave_at_once(status)

    os._exit = os_exit  # type: ignore[assignment]
    if threading.current_thread() is not threading.main_thread():
        return
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda number, _: terminated(recorder, number))


def terminated(recorder: Recorder, number: int) -> None:
    """Save, then end as the signal would have ended the process."""
    leave(recorder, "the program was terminated")
    end_workers()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def end_workers() -> None:
    """Have the workers of loaders end: they would notice some seconds later only, and leave their folders meanwhile."""
    from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

    for thing in gc.get_objects():
        if type(thing) is _MultiProcessingDataLoaderIter:  # to ask some for their class does things
            with suppress(Exception):  # it is being made, or ended
                thing._shutdown_workers()


def leave(recorder: Recorder, how: str) -> None:
    """End a recording that is open, in the process that opened it."""
    if recorder.pid != os.getpid():
        return
    try:
        recorder.finish(how)
        recorder.end()
    except Exception as error:  # noqa: BLE001
        sys.stderr.write(f"perfkit: the recording could not be saved: {type(error).__name__}: {error}\n")
