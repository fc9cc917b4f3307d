"""One recording by the profiler of torch: prepared, started, its steps marked, stopped and saved."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch

from .processor import KEY, tell_of_the_processor

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["OTHERS", "Others", "Window"]


class Window:
    """One stretch of recording; `seconds` says what each part of it cost the thread that asked for it."""

    def __init__(self, *, shapes: bool, stacks: bool, memory: bool) -> None:
        # Not torch.profiler.profile: that imports the compiler, while a thread of the program may be at it, too.
        from torch.autograd.profiler import profile

        self.seconds: dict[str, float] = {}
        self.marks = 0
        self.mark: Any = None
        self.mark_thread = 0
        self.threads = "all"
        self.processor = ""
        self.profile = profile(
            use_kineto=True,
            use_device=_device(),
            record_shapes=shapes,
            with_stack=stacks,
            profile_memory=memory,
            experimental_config=self._every_thread(),
        )

    def _every_thread(self) -> Any:
        """Have the profiler record threads other than the one that starts it; a torch before 2.6 cannot."""
        from torch._C._profiler import _ExperimentalConfig

        try:
            return _ExperimentalConfig(profile_all_threads=True)
        except TypeError:
            self.threads = "one"
            return None

    def prepare(self) -> None:
        """Set the profiler up: on a GPU this is what takes long."""
        with _silence():
            self._timed("prepare", self.profile._prepare_trace)
        self._timed("prepare", self._look_at_the_processor)

    def start(self) -> None:
        """Begin to record."""
        self._timed("start", self.profile._start_trace)
        self._timed("start", self._tell)

    def step(self, *, last: bool, whole: bool = True) -> str:
        """End the step of this thread that is open, and begin another unless it was the last.

        Returns the name of the step in the trace if it has ended before it was ``whole``: that is none.
        """
        if self.mark is not None:
            if self.mark_thread != threading.get_ident():
                return ""
            self.mark.__exit__(None, None, None)
            self.mark = None
            if not whole:
                return f"ProfilerStep#{self.marks}"
            self.marks += 1
        if not last:
            self.mark = torch.autograd.profiler.record_function(f"ProfilerStep#{self.marks}")
            self.mark.__enter__()
            self.mark_thread = threading.get_ident()
        return ""

    def stop(self) -> None:
        """End the recording; a step that is open is left open."""
        self._timed("stop", lambda: self.profile.__exit__(None, None, None))

    def save(self, path: str) -> str:
        """Write the trace, and return what is wrong with it, or nothing."""
        self._timed("save", lambda: self.profile.export_chrome_trace(path))
        return _fault(path)

    def is_empty(self) -> bool:
        """Tell whether nothing but the profiler's own marks was recorded."""
        results = self.profile.kineto_results
        assert results is not None
        return not any("::" in event.name() or event.device_type() for event in results.events())

    def _look_at_the_processor(self) -> None:
        self.processor = tell_of_the_processor()

    def _tell(self) -> None:
        """Put into the trace what no event of it says."""
        _tell_of_the_job()
        if self.processor:
            torch.autograd._add_metadata_json(KEY, self.processor)

    def _timed(self, name: str, action: Any) -> None:
        begun = time.perf_counter()
        OTHERS.ours = True
        try:
            action()
        finally:
            OTHERS.ours = False
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun


@contextmanager
def _silence() -> Generator[None, None, None]:
    """Keep the profiler off the program's standard error: it reads how much to say when it is first used."""
    own = "KINETO_LOG_LEVEL" in os.environ
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    try:
        yield
    finally:
        if not own:
            os.environ.pop("KINETO_LOG_LEVEL", None)


def _device() -> str | None:
    """Name the kind of device that is there to be recorded."""
    from torch._C._autograd import _supported_activities
    from torch._C._profiler import ProfilerActivity

    known = {ProfilerActivity.CUDA: "cuda", ProfilerActivity.XPU: "xpu"}
    return next((name for activity, name in known.items() if activity in _supported_activities()), None)


def _tell_of_the_job() -> None:
    """Put rank and world size into the trace, as torch's own profiler does."""
    import torch.distributed as job

    if job.is_available() and job.is_initialized():
        told = {"backend": job.get_backend(), "rank": job.get_rank(), "world_size": job.get_world_size()}
        torch.autograd._add_metadata_json("distributedInfo", json.dumps(told))


def _fault(path: str) -> str:
    """Say what keeps a trace from being whole: the profiler itself is silent about a full disk."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 64, 0))
            if file.read().rstrip().endswith(b"}"):
                return ""
        left = os.statvfs(os.path.dirname(path))
    except FileNotFoundError:
        return "its trace could not be written: the disk is full, or the file would be too large"
    except OSError as error:
        return error.strerror or str(error)
    finally:
        with suppress(OSError):
            os.unlink(f"{path}.tmp")  # what the profiler left of a file that it could not finish
    full = left.f_bavail * left.f_frsize < 1 << 20
    return f"only {size:,} bytes of it could be written: {'the disk is full' if full else 'the file is too large'}"


def cancel() -> None:
    """End what torch records for its daemon: a process that ends meanwhile would crash. Preparing another does that."""
    from torch.autograd.profiler import profile

    with _silence(), suppress(Exception):
        profile(use_kineto=True)._prepare_trace()


class Others:
    """The program's own use of the profiler: there can be one recording in a process, and the program's comes first."""

    def __init__(self) -> None:
        self.ours = False
        self.open = 0
        self.on_start: Any = None

    def watch(self) -> None:
        """Follow every recording that the program makes."""
        from torch.autograd import profiler

        def begins(original: Any) -> Any:
            def prepare(recording: Any, *args: Any, **options: Any) -> Any:
                if not self.ours:
                    if self.on_start is not None:
                        self.on_start()
                    self.open += 1
                return original(recording, *args, **options)

            return prepare

        def ends(original: Any) -> Any:
            def leave(recording: Any, *args: Any, **options: Any) -> Any:
                if not self.ours:
                    self.open = max(0, self.open - 1)
                return original(recording, *args, **options)

            return leave

        kind: Any = profiler.profile
        kind._prepare_trace = begins(kind._prepare_trace)
        kind.__exit__ = ends(kind.__exit__)


OTHERS = Others()
