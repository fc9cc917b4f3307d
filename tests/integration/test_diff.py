"""Pairs of recordings whose difference is known: of public traces, and of simulated runs."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import perfkit
from perfkit.report import diff_words, json
from tests import simulator
from tests.integration.forms import cuda_run
from tests.integration.shared import TRACES, kineto_files, needs_shared
from tests.simulator import actions as do
from tests.simulator import nsight
from tests.unit.cli.command_line import run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perfkit.model.difference import Difference
    from tests.simulator import Workload

MS = 1_000_000
RESNET = "kineto/resnet50_num_workers_{}"
MFU = "nsys/nsys-ai/mfu_2gpu_{}.sqlite"
H100 = "tracelens/traces/h100"


def only(folder: str) -> Path:
    (path,) = (TRACES / folder).glob("*.json.gz")
    return path


def check(found: Difference) -> Difference:
    """Whatever is compared: the buckets sum to both lengths, and so their changes to the change."""
    assert sum(bucket.base_ns for bucket in found.buckets) == found.base.unit_ns
    assert sum(bucket.head_ns for bucket in found.buckets) == found.head.unit_ns
    assert sum(bucket.change_ns for bucket in found.buckets) == found.change_ns
    assert all(row.calls_ns + row.cost_ns == row.change_ns for row in found.rows)
    return found


def kinds(found: Difference) -> set[str]:
    return {obstacle.kind for obstacle in found.obstacles}


@needs_shared
def test_more_workers_make_resnet50_faster_by_data_loading() -> None:
    found = check(perfkit.diff(only(RESNET.format(0)), only(RESNET.format(4))))
    assert found.verdict == "faster"
    assert -46 * MS <= found.change_ns <= -40 * MS
    assert found.cause is not None
    assert found.cause.bucket.name == "data_loading"
    assert found.cause.row is not None
    assert "DataLoader" in found.cause.row.name
    assert "resnet50_profiler_api.py(42)" in diff_words.cause(found)
    assert found.interval is not None
    assert found.interval.low_ns <= found.change_ns <= found.interval.high_ns < 0


@needs_shared
@pytest.mark.parametrize("file", [f"{RESNET.format(0)}/worker0.1623143089861.pt.trace.json.gz", MFU.format("after")])
def test_a_trace_against_itself_is_no_change(file: str) -> None:
    found = check(perfkit.diff(TRACES / file, TRACES / file))
    assert (found.verdict, found.change_ns, found.cause) == ("same", 0, None)
    assert {row.kind for row in found.rows} == {"same"}
    assert diff_words.headline(found).startswith("No change")


@needs_shared
def test_other_hardware_and_shapes_are_named() -> None:
    found = check(perfkit.diff(only("hta/trace_diff/control"), only("hta/trace_diff/test")))
    assert found.verdict == "not_comparable"
    assert kinds(found) == {"hardware", "devices", "shapes"}
    text = diff_words.headline(found)
    assert "NVIDIA A100-PG509-200 against Tesla V100-SXM2-16GB" in text
    assert "8 against 2 ranks" in text
    allowed = perfkit.diff(
        only("hta/trace_diff/control"), only("hta/trace_diff/test"), allow=("hardware", "devices", "shapes")
    )
    assert (allowed.verdict, allowed.change_ns) == ("slower", found.change_ns)


@needs_shared
def test_captures_of_one_fixed_duration_are_compared_by_the_call() -> None:
    found = check(perfkit.diff(TRACES / MFU.format("before"), TRACES / MFU.format("after")))
    assert (found.verdict, kinds(found)) == ("not_comparable", {"duration"})
    assert found.per_call == pytest.approx(1, abs=0.02)
    before, after = (side.idle_ns / side.unit_ns for side in (found.base, found.head))
    assert 1.6 < after / before < 2.4
    assert "one fixed duration" in diff_words.headline(found)
    assert "totals do not compare" in diff_words.headline(found)
    text = diff_words.cause(found)
    assert "takes the same time" in text
    assert "idle 9.6 % of the time in BASE and 17.4 % in HEAD" in text


@needs_shared
def test_two_programs_are_not_compared() -> None:
    owlv2, bert = (next((TRACES / H100).glob(f"*{name}*")) for name in ("owlv2", "bert-small"))
    found = check(perfkit.diff(owlv2, bert))
    assert (found.verdict, kinds(found)) == ("not_comparable", {"program"})
    assert not [row for table in diff_words.TABLES for row in diff_words.shown_rows(found, table)]


@needs_shared
def test_one_program_on_two_vendors_hardware_is_not_compared() -> None:
    paths = [next((TRACES / "tracelens/traces" / name).glob("*bert*")) for name in ("h100", "mi300")]
    found = check(perfkit.diff(*paths))
    assert (found.verdict, kinds(found)) == ("not_comparable", {"hardware"})


@needs_shared
def test_no_two_public_programs_are_taken_for_one() -> None:
    """Traces of different programs, each against the others; those of one program are one group."""
    groups = (
        "bert-small",
        "owlv2",
        "resnet50_num_workers_4",
        "dlrm/worker0",
        "trace_diff/test",
        "b200",
        "cpu_only_old",
    )
    files = [next(file for file in kineto_files() if group in file) for group in groups]
    found = {file: perfkit.diagnose(TRACES / file) for file in files}
    for one in files:
        for other in files:
            if one != other:
                assert perfkit.diff(found[one], found[other]).verdict == "not_comparable", (one, other)


def test_two_programs_that_train_are_two_though_most_names_of_their_operators_are_the_same() -> None:
    samples = Path(__file__).parents[2] / "traces"
    loading, asking = (samples / f"{name}_bound_cpu.json.gz" for name in ("loader", "sync"))
    found = check(perfkit.diff(loading, asking))
    assert (found.verdict, kinds(found)) == ("not_comparable", {"program"})
    assert "none to the same code" in found.obstacles[0].message
    assert check(perfkit.diff(loading, samples / "loader_repaired_cpu.json.gz")).verdict == "faster"


def change(action: Any, how: Callable[[Any], Any]) -> Any:
    """Change a program: every action, those inside others first."""
    if isinstance(action, (list, tuple)):
        return type(action)(change(part, how) for part in action)
    if isinstance(action, dict):
        return {key: change(value, how) for key, value in action.items()}
    if dataclasses.is_dataclass(action) and not isinstance(action, type):
        values = {field.name: change(getattr(action, field.name), how) for field in dataclasses.fields(action)}
        return how(dataclasses.replace(action, **values))
    return action


def noise(seed: int, spread: float) -> Callable[[Any], Any]:
    """Return what makes work and kernels of random length, around what they are."""
    chooser = random.Random(seed)

    def longer(action: Any) -> Any:
        if isinstance(action, (do.Work, do.Launch)):
            return dataclasses.replace(action, ns=round(action.ns * chooser.uniform(1 - spread, 1 + spread)))
        return action

    return longer


def written(workload: Workload, path: Path) -> Path:
    simulator.write(simulator.record(workload), path)
    return path


def of_steps(steps: Sequence[Sequence[do.Action]], *, stacks: bool = True) -> Workload:
    return do.Workload([do.Process(4100, steps)], marks=True, stacks=stacks)


@pytest.mark.parametrize("cause", simulator.PLANTED_CAUSES)
def test_a_planted_cause_is_the_cause(cause: str, tmp_path: Path) -> None:
    for seed in range(4):
        pair = simulator.planted(cause, seed)
        without = dataclasses.replace(pair.without, marks=True)
        faulty = dataclasses.replace(pair.with_cause, marks=True)
        paths = written(without, tmp_path / "without.json"), written(faulty, tmp_path / "with.json")
        slower, faster = check(perfkit.diff(*paths)), check(perfkit.diff(*reversed(paths)))
        assert (slower.verdict, faster.verdict) == ("slower", "faster"), seed
        for found in (slower, faster):
            assert found.cause is not None
            assert found.cause.bucket.name == cause, seed
            assert found.base.steps == found.head.steps == 3
        assert slower.change_ns == -faster.change_ns


def test_noise_is_no_change_and_a_real_one_shows_through_it(tmp_path: Path) -> None:
    """Several runs a side: of twelve pairs of equal programs, hardly any looks different."""
    without = simulator.planted("python", 5).without
    wrong = 0
    for seed in range(12):
        runs = [
            perfkit.diagnose(written(change(without, noise(100 * seed + at, 0.3)), tmp_path / "run.json"))
            for at in range(6)
        ]
        found = check(perfkit.diff(runs[:3], runs[3:], threshold=0))
        assert found.interval is not None
        assert found.interval.samples == "runs"
        wrong += found.verdict != "same"
    assert wrong <= 2
    longer = change(
        without, lambda part: dataclasses.replace(part, ns=2 * part.ns) if isinstance(part, do.Work) else part
    )
    heads = [perfkit.diagnose(written(change(longer, noise(at, 0.3)), tmp_path / "run.json")) for at in range(3)]
    assert perfkit.diff(runs[:3], heads).verdict == "slower"


def test_steps_twice_as_many_are_the_same_steps(tmp_path: Path) -> None:
    step = simulator.planted("python", 3).with_cause.processes[0].steps[0]
    paths = [written(of_steps([step] * count), tmp_path / f"{count}.json") for count in (4, 9)]
    found = check(perfkit.diff(*paths))
    assert (found.verdict, found.change_ns) == ("same", 0)
    assert (found.base.steps, found.head.steps) == (3, 8)
    assert any("3 steps and of 8 steps" in note for note in found.notes)


def test_recordings_of_other_lengths_without_steps_are_not_compared(tmp_path: Path) -> None:
    step = simulator.planted("python", 3).with_cause.processes[0].steps[0]
    paths = [
        written(dataclasses.replace(of_steps([step] * count), marks=False), tmp_path / f"{count}.json")
        for count in (4, 6)
    ]
    found = check(perfkit.diff(*paths, window="device-span"))
    assert (found.verdict, kinds(found)) == ("not_comparable", {"work"})
    assert found.work == pytest.approx(1.5)
    assert found.per_call == pytest.approx(1)


def test_steps_on_one_side_only_are_not_compared(tmp_path: Path) -> None:
    marked = simulator.planted("allocation", 2).without
    paths = [written(dataclasses.replace(marked, marks=marks), tmp_path / f"{marks}.json") for marks in (True, False)]
    found = check(perfkit.diff(*paths))
    assert (found.verdict, kinds(found)) == ("not_comparable", {"steps"})


def batched(size: int) -> Callable[[Any], Any]:
    """Return what gives every operator inputs of that size."""

    def shaped(action: Any) -> Any:
        return dataclasses.replace(action, shapes=((size, 64),)) if isinstance(action, do.Operator) else action

    return shaped


def test_another_batch_size_is_not_compared(tmp_path: Path) -> None:
    workload = simulator.planted("allocation", 7).without
    paths = [written(change(workload, batched(size)), tmp_path / f"{size}.json") for size in (32, 64)]
    found = check(perfkit.diff(*paths))
    assert (found.verdict, kinds(found)) == ("not_comparable", {"shapes"})
    assert "`[[32,64]]` in BASE and `[[64,64]]` in HEAD" in diff_words.headline(found)


def test_saved_diagnoses_remember_shapes(tmp_path: Path) -> None:
    workload = simulator.planted("allocation", 7).without
    saved = []
    for size in (32, 64):
        trace = written(change(workload, batched(size)), tmp_path / f"{size}.json")
        saved.append(tmp_path / f"saved{size}.json")
        run("diagnose", str(trace), "--output", str(saved[-1]))
    found = check(perfkit.diff(*saved))
    assert (found.verdict, kinds(found)) == ("not_comparable", {"shapes"})
    assert kinds(perfkit.diff(saved[0], tmp_path / "32.json")) == set()


def test_shapes_that_differ_from_step_to_step_are_no_obstacle(tmp_path: Path) -> None:
    step = simulator.planted("python", 3).with_cause.processes[0].steps[0]
    paths = [
        written(of_steps([change(step, batched(size + at)) for at in range(5)]), tmp_path / f"{size}.json")
        for size in (1000, 2000)
    ]
    assert check(perfkit.diff(*paths)).verdict == "same"


def test_both_profilers_forms_of_one_run_are_the_same(tmp_path: Path) -> None:
    for seed in range(25):
        machine = cuda_run(seed)
        simulator.write(machine, tmp_path / "t.json")
        nsight.write(machine, tmp_path / "t.sqlite", nsight.EXPORTS[0])
        found = check(perfkit.diff(tmp_path / "t.json", tmp_path / "t.sqlite"))
        assert (found.verdict, found.change_ns, kinds(found)) == ("same", 0, set()), seed
        tables = [row for row in found.rows if row.table != "idle"]
        assert {row.kind for row in tables} <= {"same"}, seed
        assert all(bucket.change_ns == 0 for bucket in found.buckets), seed


def test_a_saved_diagnosis_says_what_its_trace_says(tmp_path: Path) -> None:
    pair = simulator.planted("data_loading", 1)
    paths = [written(pair.without, tmp_path / "a.json"), written(pair.with_cause, tmp_path / "b.json")]
    saved = tmp_path / "saved.json"
    saved.write_text(json.draw(perfkit.diagnose(paths[0])), "utf-8")
    assert perfkit.diff(saved, paths[1])[5:] == perfkit.diff(*paths)[5:]


def test_a_truncated_trace_is_told(tmp_path: Path) -> None:
    pair = simulator.planted("data_loading", 1, steps=8)
    path = written(dataclasses.replace(pair.without, marks=True), tmp_path / "a.json")
    text = path.read_bytes()
    (tmp_path / "b.json").write_bytes(text[: len(text) // 2])
    found = check(perfkit.diff(path, tmp_path / "b.json"))
    assert any(note.startswith("HEAD: the file breaks off") for note in found.notes)
