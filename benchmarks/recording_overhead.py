"""What it costs a program to be watched and not recorded yet: `python -m benchmarks.recording_overhead`.

On training loops with steps of about 1, 10 and 100 ms, and on one that loads and steps and computes nothing, within one
process: short blocks of steps with the hooks of `perfkit record` in place, or with that of `perfkit run`, and without,
in the order with, without, without, with, then the other way about; what a step takes more in each such four, and
beside it what the same blocks give where no hook is ever put in place, which is what this machine cannot tell. The
thread by which `perfkit run` has the profiler ask what to do is there all the time; what it takes is measured in
processes that do nothing. (Comparing processes that train tells less: two that are alike differ by a tenth here.)

What a block of steps takes is their lower quartile: what others do on this machine lengthens some steps, and not by the
same on both sides. Time is told by the wall clock and as time on the processor; intervals are those of the median of
all fours, 95 %, by the bootstrap.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks import report
from benchmarks.machine import file_name, fingerprint
from perfkit.verify.timing import interval

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    Step = Callable[[], None]

RESULTS: Final = Path(__file__).with_name("results")
PERFKIT: Final = (sys.executable, "-m", "perfkit.cli")
NEVER: Final = 1 << 40
SILENT_S: Final = 20.0
CLOCKS: Final = {"wall": time.perf_counter_ns, "processor": time.thread_time_ns}


class Length(NamedTuple):
    """A length of step, and how it is measured.

    Attributes:
        ms: About how long a step is.
        fours: How often four blocks are timed within one process.
        steps: Steps of a block that count.
        settle: Steps before them: changed methods have to be specialised again by the interpreter.
    """

    ms: int
    fours: int
    steps: int
    settle: int


LENGTHS: Final = (
    Length(0, fours=80, steps=200, settle=50),
    Length(1, fours=120, steps=40, settle=10),
    Length(10, fours=120, steps=5, settle=1),
    Length(100, fours=16, steps=2, settle=1),
)
WIDTH: Final = 128
BATCH: Final = 8


def loop(layers: int) -> Step:
    """Return a step of a training loop over a DataLoader that never ends; without layers nothing is computed.

    The layers have the same weights: what is in the processor's own cache varies least from step to step.
    """
    import torch

    class Samples(torch.utils.data.Dataset):  # type: ignore[misc]  # torch is not followed
        def __len__(self) -> int:
            return NEVER

        def __getitem__(self, index: int) -> torch.Tensor:
            return sample

    sample = torch.randn(WIDTH)
    layer = torch.nn.Sequential(torch.nn.Linear(WIDTH, WIDTH), torch.nn.Tanh())
    model = torch.nn.Sequential(*[layer] * (layers or 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
    batches = iter(torch.utils.data.DataLoader(Samples(), batch_size=BATCH))

    def step() -> None:
        batch = next(batches)
        if layers:
            optimizer.zero_grad()
            model(batch).sum().backward()
        optimizer.step()

    return step


def layers_for(length: Length) -> int:
    """Return how many layers make a step of about the length."""
    layers = 8 if length.ms else 0
    for _ in range(3 if length.ms else 0):
        taken_ms = min(timed(loop(layers), 12, 3)["wall"]) / 1e6
        layers = max(1, round(layers * length.ms / taken_ms))
    return layers


def timed(step: Step, steps: int, settle: int) -> dict[str, list[int]]:
    """Return nanoseconds of each step, by clock."""
    taken: dict[str, list[int]] = {clock: [] for clock in CLOCKS}
    for _ in range(settle):
        step()
    before = [clock() for clock in CLOCKS.values()]
    for _ in range(steps):
        step()
        now = [clock() for clock in CLOCKS.values()]
        for clock, began, ended in zip(CLOCKS, before, now, strict=True):
            taken[clock].append(ended - began)
        before = now
    return taken


def quick(values: Sequence[float]) -> float:
    """Return the lower quartile."""
    return quantiles(values, n=4)[0]


@contextmanager
def by_record(folder: str) -> Generator[None, None, None]:
    """Have a recorder watch that has so many steps to let pass that it never records."""
    from perfkit.record.agent.recorder import Recorder
    from perfkit.record.agent.watch import watch_loaders, watch_optimizers, watch_profiler_steps
    from perfkit.record.plan import Plan

    recorder = Recorder(json.loads(Plan(warmup=NEVER).text(folder)), lambda: None)
    undo = [watch(recorder) for watch in (watch_optimizers, watch_loaders, watch_profiler_steps)]
    try:
        yield
    finally:
        for action in undo:
            action()


@contextmanager
def by_run(_: str) -> Generator[None, None, None]:
    """Have torch count steps for its daemon, as it does from the start under `perfkit run`."""
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    hook = register_optimizer_step_post_hook(torch.profiler._optimizer_post_hook)  # noqa: SLF001
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def nothing(_: str) -> Generator[None, None, None]:
    """Change nothing."""
    yield


def in_fours(step: Step, length: Length, change: Any, folder: str) -> dict[str, Any]:
    """Return what a change adds to a step, in microseconds and as a share of it, by clock."""
    added: dict[str, list[float]] = {clock: [] for clock in CLOCKS}
    shares: dict[str, list[float]] = {clock: [] for clock in CLOCKS}
    for at in range(length.fours):
        taken: dict[bool, dict[str, list[int]]] = {side: {clock: [] for clock in CLOCKS} for side in (True, False)}
        for outer in (True, False, False, True):
            changed = outer == (at % 2 == 0)
            with (change if changed else nothing)(folder):
                for clock, values in timed(step, length.steps, length.settle).items():
                    taken[changed][clock] += values
        for clock in CLOCKS:
            with_it, without = quick(taken[True][clock]), quick(taken[False][clock])
            added[clock].append((with_it - without) / 1e3)
            shares[clock].append((with_it - without) / without)
    return {
        clock: {"added_us": summary(added[clock], 2), "share": summary(shares[clock], 6), "n": length.fours}
        for clock in CLOCKS
    }


def summary(values: Sequence[float], digits: int) -> list[float]:
    """Return the median and the ends of its 95 % interval."""
    return [round(value, digits) for value in (median(values), *interval(values))]


def by_length(folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure every length."""
    for length in LENGTHS:
        layers = layers_for(length)
        step = loop(layers)
        timed(step, length.steps, 20)
        row: dict[str, Any] = {"layers": layers, "step_ms": round(quick(timed(step, 30, 2)["wall"]) / 1e6, 3)}
        for name, change in CHANGES.items():
            row[name] = in_fours(step, length, change, folder)
            for clock in CLOCKS:
                print(f"{row['step_ms']:8.2f} ms, {name:14} {said(row[name][clock], clock)}", flush=True)
        yield f"{length.ms} ms", row


def said(found: dict[str, Any], clock: str) -> str:
    """Say what was found."""
    (us, low_us, high_us), (share, low, high) = found["added_us"], found["share"]
    return f"{clock:9} {us:+9.1f} us [{low_us:+.1f}, {high_us:+.1f}], {share:+.2%} [{low:+.2%}, {high:+.2%}]"


def silent() -> dict[str, float]:
    """Return what processes that do nothing take on the processor, in microseconds a second."""
    code = f"import time, torch; t = time.process_time_ns(); time.sleep({SILENT_S}); print(time.process_time_ns() - t)"
    with tempfile.TemporaryDirectory() as folder:
        record = (*PERFKIT, "record", "-o", f"{folder}/out", "--warmup", str(NEVER), "--")
        running = {
            kind: subprocess.Popen(
                [*before, sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            for kind, before in {"alone": (), "perfkit record": record, "perfkit run": (*PERFKIT, "run", "--")}.items()
        }
        taken = {kind: int(process.communicate()[0]) for kind, process in running.items()}
    return {kind: round(ns / 1e3 / SILENT_S, 1) for kind, ns in taken.items()}


def main() -> None:
    """Measure, print and keep the results."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with suppress(PermissionError):
        os.nice(-20)  # whoever else wants that core gets a hundredth of it
    load_before = round(os.getloadavg()[0], 2)
    waiting = silent()
    print(f"while nothing happens, us of the processor a second: {waiting}", flush=True)
    os.environ["KINETO_USE_DAEMON"] = "1"
    import torch

    torch.profiler._.remove()
    torch.set_num_threads(1)
    machine = fingerprint({"perfkit": Path(sys.executable)})
    machine |= {"torch": str(torch.__version__), "load_before": load_before}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / ".work").mkdir()
        lengths = dict(by_length(folder))
    output = RESULTS / f"recording-{file_name(machine)}"
    report.write(output, {"machine": machine, "steps": lengths, "silent_us_a_second": waiting})
    print(f"kept in {output.name}")


CHANGES: Final = {"perfkit record": by_record, "perfkit run": by_run, "nothing": nothing}

if __name__ == "__main__":
    main()
