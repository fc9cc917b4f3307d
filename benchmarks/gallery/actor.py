"""One program of the gallery as a process of its own: `python -m benchmarks.gallery.actor NAME faulty|repaired`.

It does what it is told, a line at a time, and answers with a line of JSON: `time SETTLING STEPS` is answered with the
nanoseconds that the steps took, without the profiler; `record STEPS FILE` with the mean of a step under it.
"""

from __future__ import annotations

import ctypes.util
import gzip
import importlib.util
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

    from benchmarks.programs import Pair

ROOT: Final = Path(__file__).resolve().parents[2]

KEEP_PAGES: Final = "dirty_decay_ms:-1,muzzy_decay_ms:-1,lg_extent_max_active_fit:20"
"""For jemalloc, much as PyTorch's guide to tuning has it: what was freed stays with the process, and is used again.

Without the last, a tensor is not put where a much larger one was: `unfused_optimizer` then took 11 MB of new pages a
step, and each step 2.6 times as long once the machine had none left that it had used before.
"""


def jemalloc() -> str:
    """Return the path of jemalloc, the system's or the one that Ray ships; empty where there is none.

    With glibc's allocator the profiler's small blocks come to lie between the tensors, which then find no room where
    they were a step before and take new pages: on a CPU a recorded step can take three times as long as any other.
    """
    ray = importlib.util.find_spec("ray")
    shipped = Path(ray.origin).parent / "core" / "libjemalloc.so" if ray and ray.origin else None
    return ctypes.util.find_library("jemalloc") or (str(shipped) if shipped and shipped.exists() else "")


class Actor:
    """A running process, seen from the one that started it."""

    def __init__(self, name: str, role: str) -> None:
        """Start it; it answers when it has imported torch."""
        command = [sys.executable, "-m", "benchmarks.gallery.actor", name, role]
        preloaded = jemalloc()
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | ({"LD_PRELOAD": preloaded, "MALLOC_CONF": KEEP_PAGES} if preloaded else {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.name, self.role = name, role

    def __enter__(self) -> Self:
        """Leave it running until the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it, and its loader's workers with it."""
        try:
            self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def time(self, settling: int, steps: int) -> int:
        """Return the wall time of `steps` steps after `settling` others, device work included, in ns."""
        return int(self._ask(f"time {settling} {steps}")["ns"])

    def record(self, steps: int, path: Path) -> int:
        """Record that many steps with torch.profiler; return the mean time of one of them, in ns."""
        return int(self._ask(f"record {steps} {path.resolve()}")["step_ns"])

    def machine(self) -> dict[str, Any]:
        """Return what the program runs on."""
        return self._ask("machine")

    def _ask(self, line: str) -> dict[str, Any]:
        """Send a line and return the answer.

        Raises:
            RuntimeError: The process has ended; with what it wrote last.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError(line)
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            _, wrote = self._process.communicate()
            message = f"{self.name}, {self.role}: {wrote.strip()[-2000:] or 'ended'}"
            raise RuntimeError(message)
        parsed: dict[str, Any] = json.loads(answer)
        return parsed


class Stage:
    """The inside of the process: a program, stepped as it is told."""

    def __init__(self, pair: Pair, role: str) -> None:
        """Prepare the program, on the GPU where torch sees one."""
        import torch

        # So that a step takes the same time whatever the core count, and workers of a loader find a free core.
        torch.set_num_threads(1)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._pair = pair
        self._loop = pair.steps(role)(self._device)

    def obey(self, line: str) -> dict[str, Any]:
        """Do what a line says."""
        from traces.record.recorder import machine_of

        order, *arguments = line.split(maxsplit=2)
        if order == "time":
            return self._time(int(arguments[0]), int(arguments[1]))
        if order == "record":
            return self._record(int(arguments[0]), Path(arguments[1]))
        return machine_of(self._device)

    def _time(self, settling: int, steps: int) -> dict[str, Any]:
        from traces.record.recorder import advance, wait_for

        advance(self._loop, settling)
        wait_for(self._device)
        began_ns = time.perf_counter_ns()
        advance(self._loop, steps)
        wait_for(self._device)
        return {"ns": time.perf_counter_ns() - began_ns}

    def _record(self, steps: int, path: Path) -> dict[str, Any]:
        from traces.record.program import Stopwatch
        from traces.record.recorder import advance, profile_steps

        watch = Stopwatch()

        def step() -> None:
            with watch:
                next(self._loop)

        advance(self._loop, self._pair.settling_steps)
        text = profile_steps(step, self._device, steps, self._pair.with_stack, watch.reset)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode(), compresslevel=1, mtime=0))
        return {"step_ns": watch.total_ns // steps}


def main() -> None:
    """Answer lines until there are no more."""
    from benchmarks.programs import PROGRAMS

    name, role = sys.argv[1:]
    # A loader may want more workers than there are cores, where they wait for storage: that is the point.
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    stage = Stage(next(pair for pair in PROGRAMS if pair.name == name), role)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(stage.obey(line.rstrip("\n"))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
