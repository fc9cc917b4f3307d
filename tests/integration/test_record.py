"""``perfkit record`` on a real training script in processes of their own: what ran is what is in the trace."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import perfkit
from perfkit.model.recording import RECORDING_FILE

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.integration.disk import Disk

pytest.importorskip("torch", reason="records programs that use torch")

pytestmark = pytest.mark.xdist_group("record")  # one worker: they read what is recorded once

PROGRAM = Path(__file__).parent / "programs" / "train.py"
ENDINGS = {
    "return": (0, "the program ended"),
    "raise": (1, "the program ended"),
    "exit": (3, "the program ended at once"),
    "SIGINT": (130, "the program ended"),
    "SIGTERM": (143, "the program was terminated"),
    "SIGHUP": (129, "the program was terminated"),
    "SIGKILL": (137, "the program was killed"),
    "crash": (139, "the program was killed"),
}
STEPS = 40
WARMUP = 4


class Run(NamedTuple):
    """What a run of `perfkit record` left."""

    folder: Path
    status: int
    said: str


def start(folder: Path, *options: object, program: tuple[object, ...]) -> subprocess.Popen[str]:
    """Start `perfkit record` on a command of this Python."""
    command = [sys.executable, "-m", "perfkit.cli", "record", "-o", folder, *options, "--", sys.executable, *program]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], folder: Path) -> Run:
    """Wait for it."""
    _, said = process.communicate(timeout=300)
    return Run(folder, process.returncode, said)


def record(folder: Path, *options: object, program: tuple[object, ...]) -> Run:
    """Run `perfkit record` to its end."""
    return finish(start(folder, *options, program=program), folder)


@contextmanager
def halted(process: subprocess.Popen[str], folder: Path) -> Generator[str, None, None]:
    """Wait until the program is recorded, and halt it meanwhile; its process id."""
    while not list(folder.glob(".work/*.journal.json")):
        assert process.poll() is None, finish(process, folder)
        time.sleep(0.01)
    (status,) = folder.glob(".work/*.status")
    os.kill(int(status.stem), signal.SIGSTOP)
    try:
        yield status.stem
    finally:
        os.kill(int(status.stem), signal.SIGCONT)


def trace_of(folder: Path) -> Path:
    (trace,) = (path for path in folder.iterdir() if path.name != RECORDING_FILE)
    return trace


def events_of(trace: Path) -> list[dict[str, Any]]:
    opened = gzip.open if trace.suffix == ".gz" else open
    with opened(trace, "rt") as file:
        events: list[dict[str, Any]] = json.load(file)["traceEvents"]
    return [event for event in events if event["ph"] == "X"]


def marks(events: list[dict[str, Any]]) -> list[str]:
    return sorted(event["name"] for event in events if event["name"].startswith("ProfilerStep#"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("whole") / "out"
    return record(
        folder,
        *("--steps", 6, "--warmup", WARMUP, "--shapes", "--stacks"),
        program=(PROGRAM, STEPS, "--workers", 2, "--sleep-ms", 5, "--compiler"),
    )


@pytest.fixture(scope="module")
def endings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Recordings of programs that end while they are recorded, each in its own way; all made at the same time."""
    place = tmp_path_factory.mktemp("endings")
    running = {
        ending: start(place / ending, "--steps", 1000, "--warmup", WARMUP, program=(PROGRAM, STEPS, ending))
        for ending in ENDINGS
    }
    return {ending: finish(process, place / ending) for ending, process in running.items()}


def test_the_trace_has_the_steps_that_were_asked_for(whole: Run) -> None:
    assert whole.status == 0, whole.said
    events = events_of(trace_of(whole.folder))
    assert marks(events) == [f"ProfilerStep#{number}" for number in range(6)]
    inside = [event for event in events if event["name"].startswith("Optimizer.step")]
    assert len(inside) == 6
    assert sum(event["name"].startswith("enumerate(DataLoader)") for event in events) == 6


def test_every_thread_is_recorded_with_shapes_and_stacks(whole: Run) -> None:
    events = events_of(trace_of(whole.folder))
    threads = {event["tid"] for event in events if event["name"] == "aten::cumsum"}
    main = {event["tid"] for event in events if event["name"] == "aten::linear"}
    assert threads
    assert main
    assert not threads & main
    assert any("Input Dims" in event["args"] for event in events if event["name"] == "aten::linear")
    assert any(f"{PROGRAM.name}(" in event["name"] for event in events if event["cat"] == "python_function")


@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
def test_loader_workers_time_their_samples(whole: Run, tmp_path: Path, context: str) -> None:
    if context != "fork":
        slow = (PROGRAM, STEPS, "--workers", 2, "--sleep-ms", 5, "--context", context)
        whole = record(tmp_path / "out", "--steps", 6, "--warmup", WARMUP, program=slow)
        assert whole.status == 0, whole.said
    events = events_of(trace_of(whole.folder))
    samples = [event for event in events if event["name"] == "perfkit.worker.sample"]
    main = {event["pid"] for event in events if event["name"] == "aten::linear"}
    assert len({event["pid"] for event in samples} - main) == 2
    assert 5_000 <= sorted(event["dur"] for event in samples)[len(samples) // 2] < 20_000  # it sleeps for 5 ms
    step = next(event for event in events if event["name"] == "ProfilerStep#2")
    near = [event for event in samples if abs(event["ts"] - step["ts"]) < 1e6]
    assert near, "the clock of the workers is that of the trace"


def test_workers_that_start_anew_in_each_epoch_are_no_more_at_once(tmp_path: Path) -> None:
    slow = (PROGRAM, STEPS, "--workers", 2, "--sleep-ms", 5, "--epoch", 5, "--prefetch", 1)
    run = record(tmp_path / "out", "--steps", 15, "--warmup", WARMUP, program=slow)
    assert run.status == 0, run.said
    samples = [event for event in events_of(trace_of(run.folder)) if event["name"] == "perfkit.worker.sample"]
    assert len({event["pid"] for event in samples}) >= 6
    diagnosis = perfkit.diagnose(run.folder)
    time = diagnosis.attribution.worker_time
    assert time is not None
    assert (time.workers, time.samples) == (2, len(samples))
    assert time.samples >= 4 * 5 * 2  # of two whole epochs at least
    assert 5e6 <= time.sample_ns < 20e6
    assert time.samples_per_s <= 2e9 / time.sample_ns
    assert any(finding.rule == "PK104" for finding in diagnosis.advice.findings)


def test_slow_samples_in_workers_are_reported_as_such(whole: Run) -> None:
    diagnosis = perfkit.diagnose(whole.folder)
    time = diagnosis.attribution.worker_time
    assert time is not None
    assert time.workers == 2
    assert 5e6 <= time.sample_ns < 20e6
    assert time.batch_ns == pytest.approx(4 * time.sample_ns + time.collate_ns, rel=0.3)
    assert time.samples_per_s == pytest.approx(2e9 / time.sample_ns, rel=0.5)
    finding = next(finding for finding in diagnosis.advice.findings if finding.rule == "PK101")
    assert finding.title == "The data loader's workers do not keep up"
    assert any("In 2 workers a sample takes " in sentence for sentence in finding.evidence)


def test_the_folder_is_diagnosed_as_it_is(whole: Run) -> None:
    diagnosis = perfkit.diagnose(whole.folder)
    assert diagnosis.attribution.window.source == "ProfilerStep#"
    assert len(diagnosis.attribution.timelines[0].steps) == 5
    assert not diagnosis.trace.defects
    assert diagnosis.recording is not None
    (process,) = diagnosis.recording.processes
    assert (process.steps, process.seen, process.source, process.how) == (6, WARMUP + 6 + 6, "Optimizer.step", "whole")
    assert set(process.held_up) == {"prepare", "start", "stop", "save"}
    assert process.slowdown is not None
    assert "times as long (95 % interval" in whole.said


def test_nothing_but_the_recording_is_left(whole: Run) -> None:
    assert sorted(path.name for path in whole.folder.iterdir()) == [RECORDING_FILE, trace_of(whole.folder).name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_program_that_ends_early_leaves_a_readable_trace(endings: dict[str, Run], ending: str) -> None:
    run = endings[ending]
    status, how = ENDINGS[ending]
    assert run.status == status, run.said
    killed = how == "the program was killed"
    made = STEPS if ending == "return" else STEPS // 2 + 1
    whole_steps = made - WARMUP
    events = events_of(trace_of(run.folder))
    assert len(marks(events)) == whole_steps
    assert killed != any(event["name"] == "after the last step" for event in events)
    diagnosis = perfkit.diagnose(run.folder)
    assert diagnosis.recording is not None
    (process,) = diagnosis.recording.processes
    assert (process.steps, process.how) == (whole_steps, how)
    assert diagnosis.attribution.timelines[0].kind == "host_thread"
    assert killed != any(row.name == "aten::addmm" for row in diagnosis.attribution.operators)
    assert killed == ("operators are lost" in run.said)


def test_a_stretch_of_time_has_its_length(tmp_path: Path) -> None:
    run = record(tmp_path / "out", "--duration", "300ms", "--after", "1s", "--stop", program=(PROGRAM, 10_000))
    assert run.status == 0, run.said
    events = [event for event in events_of(trace_of(run.folder)) if event["cat"] == "cpu_op"]
    length = max(event["ts"] for event in events) - min(event["ts"] for event in events)
    assert 200e3 < length < 1_500e3
    assert Counter(event["name"] for event in events)["aten::cumsum"] > 10
    assert len(perfkit.diagnose(run.folder).attribution.timelines[0].steps) > 2


def test_stop_ends_the_program_once_it_is_recorded(tmp_path: Path) -> None:
    run = record(tmp_path / "out", "--stop", "--steps", 3, program=(PROGRAM, 100_000))
    assert run.status == 0, run.said
    assert len(marks(events_of(trace_of(run.folder)))) == 3


def test_diagnose_records_and_diagnoses(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "perfkit.cli", "diagnose", "--folder", tmp_path / "out", "--steps", "3"]
    program = ["--", sys.executable, PROGRAM, STEPS, "--sleep-ms", 4]
    done = subprocess.run(list(map(str, [*command, *program])), capture_output=True, text=True, check=True, timeout=300)
    assert "The busiest thread waits for data" in done.stdout
    assert "Record 3 steps (by Optimizer.step)" in done.stdout


def test_the_ranks_of_torchrun_are_compared(tmp_path: Path) -> None:
    arguments = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, PROGRAM, STEPS, "--all-reduce")
    run = record(tmp_path / "out", "--steps", 4, program=arguments)
    assert run.status == 0, run.said
    for rank in (0, 1):
        events = events_of(run.folder / f"rank-{rank}.json.gz")
        assert len(marks(events)) == 4
        assert sum(event["name"] == "gloo:all_reduce" for event in events) == 4
    diagnosis = perfkit.diagnose(run.folder)
    assert diagnosis.fleet is not None
    assert [row.rank for row in diagnosis.fleet.ranks] == [0, 1]
    assert diagnosis.recording is not None
    assert [process.rank for process in diagnosis.recording.processes if process.trace] == [0, 1]


FORKED = """
import multiprocessing, os, torch

def train():
    torch.set_num_threads(1)
    model = torch.nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    for _ in range(80):
        model(torch.ones(4, 8)).sum().backward()
        optimizer.step()
    open(f"{os.environ['PLACE']}/{os.getpid()}.done", "w").close()

children = [multiprocessing.get_context("fork").Process(target=train) for _ in range(2)]
for child in children:
    child.start()
for child in children:
    child.join()
raise SystemExit(sum(child.exitcode for child in children))
"""


def test_children_that_the_program_forks_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", str(tmp_path))
    run = record(tmp_path / "out", "--steps", 4, program=("-c", FORKED))
    assert run.status == 0, run.said
    children = [path.stem for path in tmp_path.glob("*.done")]
    assert {path.name for path in run.folder.glob("trace-*")} == {f"trace-{pid}.json.gz" for pid in children}
    assert len(children) == 2
    for path in run.folder.glob("trace-*"):
        assert len(marks(events_of(path))) == 4


def test_a_module_is_recorded(tmp_path: Path) -> None:
    command: list[object] = [
        sys.executable,
        "-m",
        "perfkit.cli",
        "record",
        "-o",
        "out",
        "--steps",
        "3",
        "--",
        "-m",
        PROGRAM.stem,
        STEPS,
    ]
    place = tmp_path / PROGRAM.name
    place.write_bytes(PROGRAM.read_bytes())
    done = subprocess.run(
        list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert f"steps: {STEPS}" in done.stdout
    assert len(marks(events_of(trace_of(tmp_path / "out")))) == 3


def test_a_disk_that_fills_up_meanwhile_is_said_in_a_line(small_disk: Disk) -> None:
    folder = small_disk.place / "out"
    process = start(folder, "--warmup", WARMUP, "--steps", 300, program=(PROGRAM, 400))
    with halted(process, folder):
        small_disk.fill()
    run = finish(process, folder)
    assert run.status == 2
    assert run.said.splitlines() == [
        f"perfkit: error: {folder} cannot be written: No space left on device. What was recorded so far is still in it"
    ]
    small_disk.make_room()
    assert perfkit.diagnose(folder).attribution.timelines[0].steps


def test_perfkit_killed_leaves_what_can_be_diagnosed_once_the_program_has_ended(tmp_path: Path) -> None:
    process = start(tmp_path / "out", "--warmup", WARMUP, "--steps", 300, program=(PROGRAM, 600))
    with halted(process, tmp_path / "out") as pid:
        process.kill()
        with pytest.raises(perfkit.UsageError, match=f"by process {pid}: wait until that has ended"):
            perfkit.diagnose(tmp_path / "out")
    assert process.communicate(timeout=300)[0] == "steps: 600\n"  # the program has that pipe, too
    (status,) = (tmp_path / "out").glob(".work/*.status")
    while (tmp_path / "out").exists() and json.loads(status.read_bytes())["phase"] != "ended":
        time.sleep(0.01)
    diagnosis = perfkit.diagnose(tmp_path / "out")
    assert diagnosis.recording is not None
    assert [(process.steps, process.how) for process in diagnosis.recording.processes] == [(300, "whole")]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        RECORDING_FILE,
        trace_of(tmp_path / "out").name,
    ]


def test_a_disk_without_room_and_a_folder_that_cannot_be_written_are_refused(small_disk: Disk) -> None:
    small_disk.filler.write_bytes(bytes(16 << 20))
    run = record(small_disk.place / "out", program=(PROGRAM, STEPS))
    assert (run.status, len(run.said.splitlines())) == (2, 1)
    assert "MB left: make room, or choose another folder (`perfkit record --output`" in run.said
    small_disk.make_room()
    small_disk.forbid_writing()
    run = record(small_disk.place / "out", program=(PROGRAM, STEPS))
    assert (run.status, len(run.said.splitlines())) == (2, 1)
    assert "out cannot be made: Read-only file system. Choose another folder" in run.said
    assert not list(small_disk.place.iterdir())


def test_a_file_that_would_be_too_large_is_said_and_the_program_goes_on(tmp_path: Path) -> None:
    code = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
        f"sys.argv = sys.argv[1:]; runpy.run_path({str(PROGRAM)!r}, run_name='__main__')"
    )
    run = record(tmp_path / "out", program=("-c", code, PROGRAM, STEPS))
    assert run.status == 0, run.said
    assert "its trace could not be written: the disk is full" in run.said
    assert len(perfkit.diagnose(run.folder).attribution.timelines[0].steps) == 4
    assert sorted(path.suffix for path in run.folder.iterdir()) == [".json", ".json"]


def test_too_few_steps_are_said(tmp_path: Path) -> None:
    run = record(tmp_path / "out", program=(PROGRAM, 3))
    assert run.status == 2
    assert run.said.splitlines()[-1].startswith("perfkit: error: nothing was recorded: the program made 3 steps")
    assert not (tmp_path / "out").exists()


def test_the_programs_own_profiler_comes_first(tmp_path: Path) -> None:
    program = tmp_path / "own.py"
    program.write_text(
        "import sys, torch, torch.profiler as p\n"
        "m = torch.nn.Linear(8, 1); o = torch.optim.SGD(m.parameters(), lr=1e-6)\n"
        "def ready(own): own.export_chrome_trace(sys.argv[1])\n"
        "with p.profile(activities=[p.ProfilerActivity.CPU], on_trace_ready=ready, acc_events=True,\n"
        "               schedule=p.schedule(wait=6, warmup=2, active=4, repeat=1)) as own:\n"
        "    for _ in range(60):\n"
        "        m(torch.ones(4, 8)).sum().backward(); o.step(); own.step()\n"
    )
    run = record(tmp_path / "out", "--warmup", 4, program=(program, tmp_path / "own.json"))
    assert run.status == 0, run.said
    own = perfkit.diagnose(tmp_path / "own.json")
    assert len(own.attribution.timelines[0].steps) == 3
    ours = marks(events_of(trace_of(run.folder)))
    assert len(ours) == 4  # two of the program's own among them
    assert "ProfilerStep)" in run.said


MODEL = "import torch\nm = torch.nn.Linear(8, 1)\n"
SMALL = f"{MODEL}o = torch.optim.SGD(m.parameters(), lr=1e-6)\n"


def written(tmp_path: Path, text: str, before: str = SMALL) -> Path:
    """Write a program."""
    program = tmp_path / "program.py"
    program.write_text(before + text)
    return program


def test_what_follows_the_last_step_is_none(tmp_path: Path) -> None:
    text = (
        "for _ in range(13): m(torch.ones(4, 8)).sum().backward(); o.step()\nfor _ in range(99): m(torch.ones(4, 8))\n"
    )
    run = record(tmp_path / "out", "--steps", 9, "--warmup", 10, program=(written(tmp_path, text),))
    assert run.status == 0, run.said
    assert "perfkit: 3 steps (by Optimizer.step)" in run.said
    diagnosis = perfkit.diagnose(run.folder, window="steps")
    calls = {row.name: row.calls for row in diagnosis.attribution.operators}
    assert calls["aten::addmm"] == len(diagnosis.attribution.timelines[0].steps) <= 3


def test_an_optimizer_that_seldom_steps_gives_way(tmp_path: Path) -> None:
    text = (
        "rare = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-6)\n"
        "for at in range(45):\n"
        "    if at % 6 == 0: rare.step()\n"
        "    m(torch.ones(4, 8)).sum().backward(); o.step()\n"
    )
    run = record(tmp_path / "out", "--steps", 5, "--warmup", 10, program=(written(tmp_path, text),))
    assert run.status == 0, run.said
    names = Counter(event["name"] for event in events_of(trace_of(run.folder)))
    assert names["aten::addmm"] == len(marks(events_of(trace_of(run.folder)))) == 5


def test_a_profiler_that_is_always_at_work_is_the_reason(tmp_path: Path) -> None:
    text = "with torch.profiler.profile():\n    for _ in range(30): m(torch.ones(4, 8)).sum().backward(); o.step()\n"
    run = record(tmp_path / "out", program=(written(tmp_path, text),))
    assert run.status == 2
    assert "the program's own profiler was at work whenever it was time to" in run.said


def test_steps_come_again_after_a_recording_of_the_programs_own(tmp_path: Path) -> None:
    step = "m(torch.ones(4, 8)).sum().backward(); o.step()"
    text = f"""for _ in range(9): {step}
with torch.profiler.profile():
    for _ in range(9): {step}
for _ in range(20): {step}
"""
    run = record(tmp_path / "out", "--steps", 5, "--warmup", 10, program=(written(tmp_path, text),))
    assert run.status == 0, run.said
    assert len(marks(events_of(trace_of(run.folder)))) == 5


def test_the_end_of_an_epoch_is_no_step(tmp_path: Path) -> None:
    text = (
        "data = torch.utils.data.DataLoader(torch.zeros(12, 8), batch_size=4)\n"
        "for _ in range(9):\n"
        "    for batch in data: m(batch)\n"
    )
    run = record(tmp_path / "out", "--steps", 7, "--warmup", 4, program=(written(tmp_path, text, MODEL),))
    assert run.status == 0, run.said
    events = events_of(trace_of(run.folder))
    assert len(marks(events)) == 7
    for step in (event for event in events if event["name"] in marks(events)):
        end = step["ts"] + step["dur"]
        assert sum(event["name"] == "aten::addmm" and step["ts"] <= event["ts"] < end for event in events) == 1
