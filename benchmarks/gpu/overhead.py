"""Part 6: what perfkit costs a program, and whether its joules are those that the GPU counts."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.gpu.loop import SETTLED
from benchmarks.gpu.steps import ROOT, FailedError, SkipError, Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.gpu.steps import Place

PERFKIT: Final = ("-m", "perfkit.cli")
LOOP: Final = ("-m", "benchmarks.gpu.loop")
MOST_STEPS: Final = 1_000_000
"""Of a program that is told when to end."""
ENERGY_S: Final = 15.0


def steps(place: Place) -> Iterator[Step]:
    """Yield the three questions."""
    yield Step("record", 1 if place.dry_run else 90, partial(recorded, place))
    yield Step("window of a running program", 1 if place.dry_run else 45, partial(window, place))
    yield Step("energy against the counter", 1 if place.dry_run else 30, partial(energy, place))


def lengths(ended_ns: Sequence[int]) -> list[int]:
    """Return how long each step took, once settled."""
    return [later - earlier for earlier, later in pairwise(ended_ns[SETTLED:])]


def recorded(place: Place) -> dict[str, Any]:
    """Run the loop alone and under `perfkit record`, in turns; compare steps, and the time from start to end."""
    from benchmarks.kernels.timing import spread

    count, rounds = (120, 2) if place.dry_run else (2_000, 7)
    wall_s: dict[str, list[float]] = {"alone": [], "recorded": []}
    step_ns: dict[str, list[float]] = {"alone": [], "recorded": []}
    with tempfile.TemporaryDirectory() as folder:
        ended = Path(folder) / "ended.json"
        loop = [*LOOP, str(count), str(ended)]
        for at in range(rounds):
            under = [*PERFKIT, "record", "-o", f"{folder}/out{at}", "--", sys.executable, *loop]
            for how, command in (("alone", loop), ("recorded", under))[:: -1 if at % 2 else 1]:
                began = time.monotonic()
                place.python(*command, seconds=120)
                wall_s[how].append(time.monotonic() - began)
                step_ns[how].append(statistics.median(lengths(json.loads(ended.read_text()))))
    return {
        "steps": count,
        "wall_s": {how: spread(taken) for how, taken in wall_s.items()},
        "wall_ratio": spread([b / a for a, b in zip(wall_s["alone"], wall_s["recorded"], strict=True)]),
        "median_step_ratio": spread([b / a for a, b in zip(step_ns["alone"], step_ns["recorded"], strict=True)]),
    }


def window(place: Place) -> dict[str, Any]:
    """Diagnose the loop while it runs, for a second; compare steps in that time with those before and after."""
    from benchmarks.kernels.timing import spread

    with tempfile.TemporaryDirectory() as folder:
        ended = Path(folder) / "ended.json"
        command = [sys.executable, *PERFKIT, "run", "--", sys.executable, *LOOP, str(MOST_STEPS), str(ended)]
        process = subprocess.Popen(command, cwd=ROOT, env=place.environment())
        try:
            while not Path(f"{ended}.began").exists() and process.poll() is None and place.left_s > 0:
                time.sleep(0.1)
            time.sleep(3)
            began_ns = time.time_ns()
            said = place.python(*PERFKIT, "diagnose", "--pid", str(process.pid), "--duration", "1s", seconds=60)
            done_ns = time.time_ns()
            time.sleep(3)
            Path(f"{ended}.stop").touch()
            process.wait(60)
        except subprocess.TimeoutExpired:
            message = "the loop did not end"
            raise FailedError(message) from None
        finally:
            process.kill()
            process.wait()
        times = json.loads(ended.read_text())
    inside = [b - a for a, b in pairwise(times[SETTLED:]) if began_ns <= b <= done_ns]
    outside = [b - a for a, b in pairwise(times[SETTLED:]) if not began_ns <= b <= done_ns]
    if not inside or not outside:
        message = "the loop was not running at the time"
        raise FailedError(message)
    typical = statistics.median(outside)
    return {
        "asked_for_s": (done_ns - began_ns) / 1e9,
        "inside_ns": spread(inside),
        "outside_ns": spread(outside),
        "longest_step_inside_ns": max(inside),
        "lost_share_of_that_time": (sum(inside) - typical * len(inside)) / (done_ns - began_ns),
        "verdict": said.splitlines()[0] if said else "",
    }


def energy(place: Place) -> dict[str, Any]:
    """Multiply matrices for some seconds; integrate power, and ask the GPU's own counter."""
    from perfkit.attribute.energy import measure_energy
    from perfkit.record.sensors import Sampler, open_sensor

    sensor = open_sensor()
    if isinstance(sensor, str):
        raise SkipError(sensor)
    import torch

    a = torch.randn(4_096, 4_096, device="cuda", dtype=torch.bfloat16)
    seconds = 2.0 if place.dry_run else ENERGY_S
    with Sampler(sensor) as sampler:
        start_ns, steps = time.time_ns(), 0
        while time.time_ns() - start_ns < seconds * 1e9:
            for _ in range(100):
                torch.matmul(a, a)
            torch.cuda.synchronize()
            steps += 100
        end_ns = time.time_ns()
    log = sampler.log()
    without = log._replace(samples=tuple(sample._replace(energy_mj=-1) for sample in log.samples))
    found = {}
    for how, given in (("counter", log), ("power", without)):
        entries = measure_energy(given, start_ns, end_ns, steps)
        found[how] = [entry._asdict() for entry in entries]
    if not found["counter"] or found["counter"][0]["method"] != "counter" or not found["power"]:
        message = "the sensor counts no energy, or says no power"
        raise SkipError(message)
    return found | {"power_over_counter": found["power"][0]["joules"] / found["counter"][0]["joules"]}
