"""Decides, at each step of the program, whether to prepare, start, mark or end the recording."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from .journal import Journal, Status
from .window import OTHERS, Window
from .workers import flag_of

__all__ = ["Recorder"]

PREPARE_STEPS = 2
"""Steps before the first recorded one in which the profiler is set up already."""
PATIENCE_S = 30.0
"""After so long without any step, a stretch of time is recorded instead, and steps when they come after all."""
STRETCH_S = 5.0
RANK_OF_KIND = {"ProfilerStep": 0, "Optimizer.step": 1, "DataLoader": 2}
"""Who is believed first about what a step is."""
STEPS_OF_OTHERS = 4
"""Of several optimizers the one seen first counts, unless others make so many steps until its next one."""
OWN = "the program's own profiler was at work"
DATA_ONLY = 10
"""Where there is an optimizer that has not made a step yet, batches count as steps after so many times the warm-up."""
ARGUMENTS = getattr(sys, "orig_argv", sys.argv)
MOST_STEP_TIMES = 4096


class Recorder:
    """Watches one process; its methods are called by the program's own threads, so they are quick and never raise."""

    def __init__(self, plan: dict[str, Any], on_end: Any) -> None:
        self.plan = plan
        self.on_end = on_end
        self.lock = threading.RLock()
        self.pid = os.getpid()
        self.window: Window | None = None
        self.phase = "waiting"  # then prepared, recording, recorded, ended; forked in a child that has made no step
        self.leader: tuple[str, int] | None = None
        self.counts: dict[tuple[str, int], int] = {}
        self.first = 0
        self.others = 0  # steps of other optimizers since the leader's last one
        self.between_epochs = False
        self.optimizers = 0
        self.seen = self.due = 0  # steps of the leader, and the one at which there is something to do
        self.ticked_ns = self.marked_ns = 0
        self.before: list[int] = []
        self.during: list[int] = []
        self.after: list[int] = []
        self.stretching = threading.Event()
        rank = os.environ.get("RANK", "")
        self.rank = int(rank) if rank.isdecimal() and "WORLD_SIZE" in os.environ else None
        name = f"trace-{self.pid}" if self.rank is None else f"rank-{self.rank}"
        self.trace = os.path.join(plan["folder"], f"{name}.json")
        work = os.path.join(plan["folder"], ".work")
        self.journal = Journal(os.path.join(work, f"{name}.journal.json"))
        self.status = Status(
            os.path.join(work, f"{self.pid}.status"),
            pid=self.pid,
            rank=self.rank,
            world_size=os.environ.get("WORLD_SIZE") if self.rank is not None else None,
            program=" ".join([os.path.basename(sys.executable), *ARGUMENTS[1:]])[:500],
            python=sys.version.split()[0],
            torch=str(sys.modules["torch"].__version__),
            trace=self.trace,
            journal=self.journal.path,
            phase=self.phase,
        )

    def watch_clock(self) -> None:
        """Record a stretch of time if that is asked for, or if no step is seen for long."""
        threading.Thread(target=self._stretches, name="perfkit-clock", daemon=True).start()

    def after_fork(self) -> None:
        """Begin anew in a child of the process, but only where it makes steps: most children load data."""
        # What there is of the profiler, its threads stayed with the parent.
        self.phase = "forked" if self.phase == "waiting" and self.window is None else "ended"

    def tick(self, kind: str, key: int) -> None:
        """Take notice that a step ends here, and the next one begins."""
        now = time.perf_counter_ns()
        if self.between_epochs and kind == "DataLoader":  # the step has begun, with a batch that there was none of
            self.between_epochs = False
            return
        if self.phase == "waiting" and self.leader is not None:
            if RANK_OF_KIND[kind] > RANK_OF_KIND[self.leader[0]]:
                return
            if (kind, key) == self.leader and self.seen + 1 < self.due:  # what most ticks are: nothing is due
                self.seen += 1
                self.others = 0
                if len(self.before) < MOST_STEP_TIMES:
                    self.before.append(now - self.ticked_ns)
                self.ticked_ns = now
                return
        if self.phase == "forked":
            Recorder.__init__(self, self.plan, self.on_end)
        if self.phase == "ended" or self.pid != os.getpid():
            return
        with self.lock:
            try:
                self._tick(kind, key, now)
            except Exception as error:  # noqa: BLE001  the program comes first
                self._give_up(error)

    def _tick(self, kind: str, key: int, now: int) -> None:
        leader = self.leader
        seen = (self.seen if leader == (kind, key) else self.counts.get((kind, key), 0)) + 1
        self.counts[kind, key] = seen
        if leader is None or (self.phase == "waiting" and RANK_OF_KIND[kind] < RANK_OF_KIND[leader[0]]):
            leader = self.leader = (kind, key)
            self.before.clear()
            self.due = self._due(kind)
        if leader != (kind, key) and self._takes_over(kind):
            seen = max(seen, self.seen + 1)
            leader = self.leader = (kind, key)
        if leader != (kind, key):
            return
        self.others = 0
        self.seen = seen
        if seen > 1:
            self._note(now - self.ticked_ns)
        if self.plan["duration_s"] is None and not self.stretching.is_set():
            self._advance(kind, seen)
        elif self.phase == "recording":
            self._mark()
        self.ticked_ns = time.perf_counter_ns()

    def _takes_over(self, kind: str) -> bool:
        """Tell whether another optimizer than the one that counts makes the steps now."""
        assert self.leader is not None
        if self.phase not in {"waiting", "prepared"} or kind != self.leader[0]:
            return False
        self.others += 1
        return self.others >= STEPS_OF_OTHERS

    def end_epoch(self) -> None:
        """Take notice that there was no batch any more: the step that has begun goes on with the next epoch."""
        self.between_epochs = True

    def _due(self, kind: str) -> int:
        """Return the first step of a kind at which there may be something to do."""
        if self.plan["duration_s"] is not None:
            return sys.maxsize
        return 0 if kind == "DataLoader" else int(self.plan["warmup"]) - PREPARE_STEPS

    def _note(self, ns: int) -> None:
        """Keep how long a step took, without what was done for the recording between steps."""
        times = {"waiting": self.before, "recording": self.during, "recorded": self.after}.get(self.phase)
        if times is not None and len(times) < MOST_STEP_TIMES:
            times.append(ns)

    def _advance(self, kind: str, seen: int) -> None:
        """Do what is due at the end of step number ``seen``."""
        warmup = self.plan["warmup"]
        if kind == "DataLoader":
            warmup = warmup * DATA_ONLY if self.optimizers else warmup + 1  # its step begins with the batch
        if self.phase == "waiting" and seen >= warmup - PREPARE_STEPS:
            if OTHERS.open:
                self.status.set(how=OWN)
                return
            self._prepare()
        if self.phase == "prepared" and seen >= warmup:
            self.first = seen
            self._begin()
        elif self.phase == "recording":
            if seen < self.first + self.plan["steps"]:
                self._mark()
            else:
                self.finish("whole")
        elif self.phase == "recorded" and len(self.after) >= self.plan["steps"]:
            self.end()

    def _prepare(self) -> None:
        with open(flag_of(self.plan["folder"], self.pid), "wb"):  # has the workers time what they do
            pass
        self.window = Window(**{name: self.plan[name] for name in ("shapes", "stacks", "memory")})
        self._set_phase("prepared")
        self.window.prepare()

    def _begin(self) -> None:
        assert self.window is not None
        self.status.set(source=self.leader[0] if self.leader else "", before_ns=self.before)
        self._set_phase("recording")
        self.window.start()
        self._mark()

    def _mark(self) -> None:
        """Mark where a step ends and the next begins, in the trace and in the journal."""
        assert self.window is not None
        self.window.step(last=False)
        self._note_mark()

    def _note_mark(self) -> None:
        """Write the step that ended into the journal, in case the process is killed before the trace is saved."""
        assert self.window is not None
        now = time.time_ns()
        if self.marked_ns:
            # On a thread of their own: what the program's thread did meanwhile is not known.
            self.journal.add(f"ProfilerStep#{self.window.marks - 1}", self.marked_ns, now, "steps")
        self.marked_ns = now
        self.journal.flush()

    def note_request(self, name: str, start_ns: int, end_ns: int) -> None:
        """Write a request that was answered into the journal, as steps are."""
        if self.phase == "recording":
            self.journal.add(f"perfkit.request #{name}", start_ns, end_ns, threading.get_native_id())
            self.journal.flush()

    def finish(self, how: str) -> None:
        """End the recording and save it; ``how`` it ended is ``whole`` or the reason why it is not."""
        with self.lock:
            window = self.window
            if window is None or self.phase not in {"prepared", "recording"} or self.pid != os.getpid():
                return
            if self.phase == "prepared":  # there is nothing to save, and another window may come
                self.window = None
                self._set_phase("waiting")
                return
            unfinished = window.step(last=True, whole=how == "whole")
            if not unfinished:
                self._note_mark()
            self._set_phase("saving")
            window.stop()
            empty = window.is_empty()
            fault = "" if empty else window.save(self.trace)
            self.window = None
            self.status.set(
                how=how,
                empty=empty,
                fault=fault,
                steps=window.marks,
                unfinished=unfinished,
                source=self.leader[0] if self.leader else "",
                before_ns=self.before,
                during_ns=self.during,
                seconds=window.seconds,
                threads=window.threads,
            )
            self._set_phase("recorded")

    def end(self) -> None:
        """Stop watching."""
        with self.lock:
            if self.phase != "ended":
                self.status.set(after_ns=self.after)
                self._set_phase("ended")
                with suppress(OSError):
                    os.unlink(flag_of(self.plan["folder"], self.pid))
                self.on_end()

    def _set_phase(self, phase: str) -> None:
        self.phase = phase
        counts: dict[str, int] = {}
        for (kind, key), seen in self.counts.items():
            counts[kind] = max(counts.get(kind, 0), self.seen if self.leader == (kind, key) else seen)
        self.status.set(phase=phase, counts=counts)

    def _give_up(self, error: Exception) -> None:
        """Leave the program alone after a failure, and say what it was."""
        self.window = None
        self.status.set(fault=f"{type(error).__name__}: {error}"[:500])
        self.end()

    def _stretches(self) -> None:
        """Wait, then record a stretch of time; runs on a thread of its own."""
        duration = self.plan["duration_s"]
        patience = self.plan["after_s"] if duration is not None else PATIENCE_S
        time.sleep(patience)
        if duration is None and (self.leader is not None or self.phase != "waiting"):
            return
        while OTHERS.open:
            time.sleep(0.1)
        self.stretching.set()
        try:
            self._record_stretch(STRETCH_S if duration is None else duration)
            while duration is not None and self.phase == "waiting":  # the program has not begun to compute
                self._record_stretch(duration)
            if duration is not None:
                self.end()
        except Exception as error:  # noqa: BLE001
            self._give_up(error)
        finally:
            self.stretching.clear()

    def _record_stretch(self, seconds: float) -> None:
        """Record so long; if nothing was asked for, steps may still come and be recorded instead."""
        with self.lock:
            self._prepare()
            assert self.window is not None
            self._set_phase("recording")
            self.window.start()
        time.sleep(seconds)
        self.finish("whole")
        with self.lock:
            if self.phase == "recorded" and (self.plan["duration_s"] is None or self.status.facts.get("empty")):
                self._set_phase("waiting")
