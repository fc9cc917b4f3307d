"""Profiles of ONNX Runtime: written by hand after its layout, and recorded here where it is installed."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

import perfkit
from perfkit import ingest
from perfkit.model.trace import Category
from tests.integration.shared import check_sums
from tests.unit.ingest.hand_written import defects

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.model.diagnosis import Diagnosis
    from perfkit.model.trace import Trace

pytestmark = pytest.mark.usefixtures("scanner")

HOST, POOL = 40, 41


def event(cat: str, name: str, ts: int, dur: int, *, tid: int = HOST, pid: int = 7, **args: Any) -> str:
    """One event as ONNX Runtime spaces it."""
    head = f'{{"cat" : "{cat}","pid" :{pid},"tid" :{tid},"dur" :{dur},"ts" :{ts},"ph" : "X","name" :"{name}"'
    return f'{head},"args" : {json.dumps(args)}}}'


def node(name: str, kind: str, ts: int, dur: int, *, provider: str = "CPU", tid: int = HOST) -> str:
    where = f"{provider}ExecutionProvider"
    return event("Node", f"{name}_kernel_time", ts, dur, tid=tid, op_name=kind, provider=where, node_index="3")


def run(start: int, *inside: str, dur: int = 100) -> list[str]:
    """One run: nodes by start, then the executor and the run itself, which end last."""
    executor = event("Session", "SequentialExecutor::Execute", start + 5, dur - 10)
    return [*inside, executor, event("Session", "model_run", start, dur)]


def profile(*events: str, end: str = "\n]\n") -> bytes:
    return ("[\n" + ",\n".join(events) + end).encode()


def load(*events: str, end: str = "\n]\n", **options: Any) -> Trace:
    return ingest.load(io.BytesIO(profile(*events, end=end)), **options)


def diagnose(*events: str) -> Diagnosis:
    found = perfkit.diagnose(io.BytesIO(profile(*events)))
    check_sums(found.attribution)
    return found


SESSION = event("Session", "session_initialization", 0, 900)


def cpu_runs(count: int) -> list[str]:
    """Runs of 100 us every 150 us: 5 us of run, 5 of executor, 50 and 30 of nodes, 5 of executor, 5 of run."""
    found = [SESSION]
    for number in range(count):
        start = 1000 + 150 * number
        found += run(start, node("first/MatMul", "MatMul", start + 10, 50), node("", "Add", start + 60, 30))
    return found


def test_on_a_processor_the_thread_with_the_nodes_computes_in_steps_of_runs() -> None:
    found = diagnose(*cpu_runs(4))
    (line,) = found.attribution.timelines
    assert found.trace.format == "onnxruntime"
    assert found.trace.defects == ()
    assert (line.kind, line.window_kind, line.id) == ("host_thread", "steps", "7/thread 40")
    assert found.attribution.window.source == "model_run"
    assert [step.end_ns - step.start_ns for step in line.steps] == [150_000, 150_000, 100_000]
    assert line.busy["compute"] == 300_000
    assert line.idle == {"no_request": 100_000}
    table = {row.name: (row.calls, row.host_ns) for row in found.attribution.operators}
    assert table == {
        "MatMul": (3, 150_000),
        "Add": (3, 90_000),
        "SequentialExecutor::Execute": (3, 30_000),
        "model_run": (3, 30_000),
    }


def test_with_a_parallel_executor_the_thread_of_the_pool_is_looked_at() -> None:
    events = [SESSION]
    for start in range(1000, 1500, 100):
        events += run(start, node("a", "Conv", start + 20, 40, tid=POOL), dur=90)
    found = diagnose(*events)
    (line,) = found.attribution.timelines
    assert line.id == "7/thread 41"
    assert [step.name for step in line.steps] == ["model_run"] * 4
    assert line.busy["compute"] == 4 * 40_000
    assert line.idle == {"unattributed_host_silent": 4 * 50_000, "no_request": 3 * 10_000}


def kernel(name: str, ts: int, dur: int, stream: str = "13", **args: str) -> str:
    return event("Kernel", name, ts, dur, pid=-1, tid=-1, stream=stream, grid_x="4", block_x="256", **args)


def gpu_events() -> list[str]:
    """Two nodes a run, on a GPU that runs behind; the second node has a copy of its own after its kernel."""
    events = []
    for start in range(0, 500, 100):
        events += [
            node("in/Cast", "Cast", start + 5, 10, provider="CUDA"),
            kernel("cast_kernel", start + 12, 20),
            node("in/Gemm", "Gemm", start + 20, 10, provider="CUDA"),
            kernel("sgemm", start + 32, 30),
            kernel("MemcpyDeviceToHost", start + 70, 5, stream="14"),
            *run(start, dur=95),
        ]
    return events


def test_kernels_belong_to_the_node_before_them() -> None:
    found = diagnose(*gpu_events())
    (line,) = found.attribution.timelines
    assert (line.kind, line.device, line.process) == ("device", 0, "7")
    assert (line.activities, line.unlinked_activities) == (12, 0)
    assert line.busy == {"compute": 4 * 50_000, "exposed_communication": 0, "exposed_copy": 4 * 5_000}
    table = {row.name: (row.calls, row.device_ns, row.launches) for row in found.attribution.operators}
    assert table == {"Gemm": (4, 4 * 35_000, 4), "Cast": (4, 4 * 20_000, 4)}
    assert {copy.kind for copy in found.attribution.copies} == {"MemcpyDeviceToHost"}
    assert "unattributed_no_launch" not in line.idle


def test_a_kernel_that_names_its_node_belongs_to_it_wherever_it_is_in_the_file() -> None:
    nodes = [node("a", "Conv", 10, 5), node("b", "Relu", 20, 5), node("a", "Conv", 110, 5), node("b", "Relu", 120, 5)]
    kernels = [
        kernel("relu", 130, 5, parent_name="b_kernel_time"),
        kernel("conv", 112, 5, parent_name="a_kernel_time"),
        kernel("conv", 14, 5, parent_name="a_kernel_time"),
        kernel("lost", 150, 5, parent_name="of no node"),
    ]
    trace = load(*nodes, *kernels)
    columns = trace.columns
    calls = trace.rows(Category.RUNTIME)
    when = dict(zip(columns["correlation"][calls].tolist(), columns["start"][calls].tolist(), strict=True))
    launched = [when.get(number) for number in columns["correlation"][trace.rows(Category.KERNEL)].tolist()]
    assert launched == [110_000, 100_000, 0, None]


def test_streams_are_told_apart_also_by_address() -> None:
    trace = load(node("a", "Conv", 0, 9), *(kernel("k", 10 * n, 5, stream=s) for n, s in enumerate(["0x9f0", "0xa10"])))
    rows = trace.rows(Category.KERNEL)
    assert trace.columns["stream"][rows].tolist() == [0, 1]
    assert {trace.threads[index].name for index in trace.columns["thread"][rows]} == {
        "GPU stream 0x9f0",
        "GPU stream 0xa10",
    }
    assert {trace.threads[index].owner for index in trace.columns["thread"][rows]} == {"7"}


def test_names_say_the_provider_only_where_there_are_several() -> None:
    events = [node("x", "Conv", 0, 5, provider="CUDA"), node("y", "Conv", 9, 5), event("Node", "z_fence_before", 5, 1)]
    trace = load(*events, fields=("module",))
    assert [trace.strings[index] for index in trace.columns["name"]] == ["Conv (CUDA)", "Conv (CPU)", "z_fence_before"]
    assert [trace.strings[index] for index in trace.columns["module"]] == ["x", "y", ""]
    assert trace.columns["category"].tolist() == [Category.OPERATOR, Category.OPERATOR, Category.OTHER]


def test_only_wanted_columns() -> None:
    trace = load(*gpu_events(), fields=("stream", "registers"))
    assert set(trace.columns) == {"start", "end", "name", "category", "thread", "stream", "registers"}
    assert len({len(column) for column in trace.columns.values()}) == 1


@pytest.mark.parametrize("events", [[], [SESSION], run(5), [kernel("k", 1, 2), SESSION], [event("Node", "", 0, 0)]])
def test_profiles_with_little_in_them(events: list[str]) -> None:
    text = profile(*events)
    found = perfkit.diagnose(io.BytesIO(text))
    check_sums(found.attribution)
    assert found.trace.format == ("onnxruntime" if events else "torch-profiler")


def test_what_is_broken_is_counted() -> None:
    found = load(
        *cpu_runs(3), '{"cat" : "Node","pid" :7,"tid" :40,"dur" :-4,"ts" :2000,"ph" : "X","name" :"a"}', end=""
    )
    assert {"truncated", "negative_duration"} <= set(defects(found))
    strange = load(*cpu_runs(1), event("Surprise", "what", 2000, 5), event("Node", 'a\\Users"}'.strip('"}'), 2100, 5))
    assert defects(strange)["unknown_category"][0] == 1
    assert any("Surprise" in defect.message for defect in strange.defects)


def test_a_full_profile_says_that_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfkit.ingest.onnx_runtime._EVENT_LIMIT", 5)
    assert any("stops recording" in defect.message for defect in load(*cpu_runs(1)).defects)
    assert load(*cpu_runs(2)).defects == ()


@pytest.mark.parametrize("parallel", [False, True])
def test_a_recorded_profile(parallel: bool, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    numpy = pytest.importorskip("numpy")
    from onnxruntime.datasets import get_example

    options = runtime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    if parallel:
        options.execution_mode = runtime.ExecutionMode.ORT_PARALLEL
        options.inter_op_num_threads = 2
    session = runtime.InferenceSession(get_example("mul_1.onnx"), options, providers=["CPUExecutionProvider"])
    for _ in range(6):
        session.run(None, {"X": numpy.ones((3, 2), numpy.float32)})
    path = session.end_profiling()
    found = perfkit.diagnose(path)
    check_sums(found.attribution)
    assert found.trace.format == "onnxruntime"
    assert found.trace.defects == ()
    (line,) = found.attribution.timelines
    assert (len(line.steps), found.attribution.window.source) == (5, "model_run")
    assert "Mul" in {row.name for row in found.attribution.operators}
