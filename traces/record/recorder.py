"""Measure a program without the profiler, then record it with the profiler, then write trace and manifest entry."""

import datetime
import gzip
import hashlib
import itertools
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from perfkit.record.agent.processor import KEY, tell_of_the_processor
from traces.record import manifest
from traces.record.program import Program, Stopwatch
from traces.record.scrub import WHAT_IS_SCRUBBED, installed_roots, scrub

REPOSITORY = Path(__file__).resolve().parents[2]

# Enough for workers to fill their queues and for allocators and clocks to settle, before anything counts.
SETTLING_STEPS = 20
MEASURED_STEPS = 40
ROUNDS = 5

WAIT_STEPS, WARMUP_STEPS, RECORDED_STEPS = 1, 2, 5

Steps = Callable[[torch.device, Stopwatch], Iterator[None]]


def record(program: Program, folder: Path) -> Path:
    """Write `<program>_<device>.json.gz` into the folder and its entry into the folder's MANIFEST.toml.

    Returns:
        The trace's path.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # So that a step on a CPU takes the same time whatever the core count, and loader workers find a free core.
    torch.set_num_threads(1)
    truth: dict[str, manifest.Value] = {"fault": program.fault, **_measure(program, device)}
    text, profiled = _profile(program, device)
    path = folder / f"{program.name}_{label(device)}.json.gz"
    text = scrub(text, path.name.removesuffix(".gz"), [REPOSITORY, *installed_roots()])
    content = gzip.compress(text.encode(), compresslevel=9, mtime=0)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    entry: manifest.Entry = {
        "file": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "shows": program.shows_on_cpu if device.type == "cpu" else program.shows,
        "program": program.source,
        "command": f"python -m traces.record {program.name} --out traces",
        "recorded": datetime.datetime.now(datetime.UTC).date(),
        "steps": RECORDED_STEPS,
        "with_stack": program.with_stack,
        "record_shapes": True,
        "machine": machine_of(device),
        "truth": truth | profiled,
    }
    manifest.update(folder / "MANIFEST.toml", entry, {"times": "integer nanoseconds", "scrubbed": WHAT_IS_SCRUBBED})
    return path


def _measure(program: Program, device: torch.device) -> dict[str, manifest.Value]:
    """Time the program without the profiler, in turns with its repaired twin so that both see the same machine.

    The mean step of the median round is what counts: a round disturbed by another process is then no harm.
    """
    rounds: list[tuple[int, int]] = []
    repaired_rounds: list[tuple[int, int]] = []
    for _ in range(ROUNDS):
        rounds.append(_time_steps(program.steps, device))
        if program.repaired is not None:
            repaired_rounds.append(_time_steps(program.repaired, device))
    wall_ns, fault_ns = sorted(rounds)[ROUNDS // 2]
    measured: dict[str, manifest.Value] = {
        "rounds": ROUNDS,
        "steps_per_round": MEASURED_STEPS,
        "step_ns": wall_ns // MEASURED_STEPS,
        "fault_ns": fault_ns // MEASURED_STEPS,
        "rounds_step_ns": [wall_ns // MEASURED_STEPS for wall_ns, _ in rounds],
    }
    if repaired_rounds:
        repaired_ns = [wall_ns // MEASURED_STEPS for wall_ns, _ in repaired_rounds]
        measured["repaired_step_ns"] = sorted(repaired_ns)[ROUNDS // 2]
        measured["repaired_rounds_step_ns"] = repaired_ns
    return measured


def _time_steps(steps: Steps, device: torch.device) -> tuple[int, int]:
    """Return the wall time of MEASURED_STEPS steps, device work included, and the fault's host time in them, in ns."""
    fault = Stopwatch()
    loop = steps(device, fault)
    advance(loop, SETTLING_STEPS)
    wait_for(device)
    fault.reset()
    began_ns = time.perf_counter_ns()
    advance(loop, MEASURED_STEPS)
    wait_for(device)
    return time.perf_counter_ns() - began_ns, fault.total_ns


def _profile(program: Program, device: torch.device) -> tuple[str, dict[str, manifest.Value]]:
    """Return the exported JSON text, and the mean host time of the recorded steps and of the fault in them."""
    fault, step = Stopwatch(), Stopwatch()
    loop = program.steps(device, fault)
    advance(loop, SETTLING_STEPS)
    wait_for(device)

    def timed_step() -> None:
        with step:
            next(loop)

    def forget() -> None:
        fault.reset()
        step.reset()

    text = profile_steps(timed_step, device, RECORDED_STEPS, program.with_stack, forget)
    return text, {
        "profiled_host_step_ns": step.total_ns // RECORDED_STEPS,
        "profiled_fault_ns": fault.total_ns // RECORDED_STEPS,
    }


def profile_steps(
    step: Callable[[], None],
    device: torch.device,
    count: int,
    with_stack: bool,  # noqa: FBT001
    begin: Callable[[], None],
) -> str:
    """Record that many steps with torch.profiler, after some that only warm it up; `begin` is called in between.

    Returns:
        The exported JSON text.
    """
    not_recorded = WAIT_STEPS + WARMUP_STEPS
    processor = tell_of_the_processor()
    with profile(
        activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])],
        schedule=schedule(wait=WAIT_STEPS, warmup=WARMUP_STEPS, active=count, repeat=1),
        record_shapes=True,
        with_stack=with_stack,
    ) as profiler:
        for index in range(not_recorded + count):
            if index == not_recorded:
                if processor:
                    profiler.add_metadata_json(KEY, processor)
                begin()
            step()
            profiler.step()
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(exported))
        return exported.read_text(encoding="utf-8")


def advance(loop: Iterator[object], count: int) -> None:
    """Do that many steps."""
    for _ in itertools.islice(loop, count):
        pass


def wait_for(device: torch.device) -> None:
    """Wait until the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def label(device: torch.device) -> str:
    """Return 'cpu', or the first word with a digit of the GPU's name: 'h100' of 'NVIDIA H100 80GB HBM3'."""
    if device.type == "cpu":
        return "cpu"
    name = str(torch.cuda.get_device_name(device)).lower()
    return next((word for word in name.split() if re.search(r"\d", word)), name.replace(" ", "-"))


def machine_of(device: torch.device) -> dict[str, manifest.Value]:
    """Return what was recorded on, without anything that names its owner."""
    found: dict[str, manifest.Value] = {
        "device": device.type,
        "cpu": _cpu_model(),
        "cpus": os.cpu_count() or 0,
        "torch_threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
        found["cuda"] = str(torch.version.cuda or torch.version.hip)
    return found


def _cpu_model() -> str:
    """Return the processor's name as the kernel gives it, where it does."""
    listing = Path("/proc/cpuinfo")
    text = listing.read_text(encoding="utf-8") if listing.exists() else ""
    named = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
    return named.group(1).strip() if named else platform.processor() or platform.machine()
