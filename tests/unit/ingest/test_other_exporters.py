"""Traces of Triton Inference Server, trtexec and rocprofv3, by hand after their documented layouts."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

import perfkit
from perfkit import ingest
from perfkit.errors import UnknownFormatError, UnreadableTraceError
from perfkit.model.trace import Category
from tests.integration.shared import check_sums
from tests.unit.ingest.hand_written import defects

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.model.attribution import Timeline
    from perfkit.model.diagnosis import Diagnosis

# --------------------------------------------------------------------------------------------------- Triton

MODEL = "resnet"


def stamps(number: int, **when: int) -> list[dict[str, Any]]:
    """The records of one request: one for each timestamp, as today's servers write them."""
    return [{"id": number, "timestamps": [{"name": name, "ns": ns}]} for name, ns in when.items()]


def request(number: int, start: int, *, queue: int = 20, batch_at: int | None = None) -> list[dict[str, Any]]:
    """One request of 200 ns or more, whose batch takes 100 ns: 10 of input, 80 to infer, 10 of output."""
    at = start + 30 + queue if batch_at is None else batch_at
    return [
        {"id": number, "model_name": MODEL, "model_version": 1},
        *stamps(
            number,
            HTTP_RECV_START=start,
            HTTP_RECV_END=start + 20,
            REQUEST_START=start + 25,
            QUEUE_START=start + 30,
            INFER_RESPONSE_COMPLETE=at + 105,
            COMPUTE_START=at,
            COMPUTE_INPUT_END=at + 10,
            COMPUTE_OUTPUT_START=at + 90,
            COMPUTE_END=at + 100,
            REQUEST_END=at + 110,
            HTTP_SEND_START=at + 112,
            HTTP_SEND_END=at + 120,
        ),
    ]


def diagnose(document: Any) -> Diagnosis:
    found = perfkit.diagnose(io.BytesIO(document if isinstance(document, bytes) else json.dumps(document).encode()))
    check_sums(found.attribution)
    return found


def test_a_server_computes_waits_for_requests_and_lets_them_wait() -> None:
    found = diagnose([*request(1, 1000), *request(2, 2000), *request(3, 2500)])
    (line,) = found.attribution.timelines
    assert (found.trace.format, found.trace.defects) == ("triton-server", ())
    assert (line.id, line.window_ns) == ("server/resnet v1 instance 0", 1600)
    assert line.busy["compute"] == 300
    # Of each request, what comes after its computation; and of the second and third, what comes before.
    assert line.idle == {"no_request": 2 * 1000 - 500 - 2 * 170, "unattributed_host_silent": 2 * 20 + 2 * 50}
    table = {row.name: (row.calls, row.host_ns) for row in found.attribution.operators}
    assert table == {"resnet v1: input": (3, 30), "resnet v1: infer": (3, 240), "resnet v1: output": (3, 30)}


def test_requests_of_one_batch_are_computed_once_and_batches_at_a_time_by_several_instances() -> None:
    together = [*request(1, 0, batch_at=100), *request(2, 20, batch_at=100), *request(3, 40, batch_at=150)]
    trace = ingest.load(io.BytesIO(json.dumps(together).encode()))
    rows = trace.rows(Category.OPERATOR)
    names = [trace.threads[index].name for index in trace.columns["thread"][rows].tolist()]
    assert names == ["resnet v1 instance 0"] * 3 + ["resnet v1 instance 1"] * 3
    waits = trace.rows(Category.ANNOTATION)
    columns = trace.columns
    queued = [
        int(columns["end"][row] - columns["start"][row])
        for row in waits.tolist()
        if trace.strings[columns["name"][row]].startswith("queue")
    ]
    assert queued == [70, 50, 80]


def test_the_records_of_2020_and_requests_within_an_ensemble() -> None:
    old = [
        {
            "model_name": "simple",
            "model_version": -1,
            "id": 1,
            "timestamps": [
                {"name": "grpc wait/read start", "ns": 100},
                {"name": "grpc wait/read end", "ns": 1000},
                {"name": "request handler start", "ns": 1010},
                {"name": "queue start", "ns": 1020},
                {"name": "compute start", "ns": 1100},
                {"name": "compute end", "ns": 1500},
                {"name": "request handler end", "ns": 1510},
            ],
        },
        {"model_name": "part", "model_version": 2, "id": 2, "parent_id": 1, "timestamps": [{"name": "x", "ns": 1200}]},
    ]
    trace = ingest.load(io.BytesIO(json.dumps(old).encode()))
    columns = trace.columns
    found = {
        trace.strings[columns["name"][row]]: (
            columns["start"][row] + trace.epoch_ns,
            columns["end"][row] + trace.epoch_ns,
        )
        for row in range(len(trace))
    }
    assert found == {
        "inference request simple": (1000, 1510),
        "queue (simple)": (1020, 1100),
        "simple: compute": (1100, 1500),
    }


# ------------------------------------------------------------------------------------------------- trtexec


def query(start: float, *, copy: float = 0.25) -> dict[str, float]:
    """A query that is enqueued in 0.5 ms and computes for 2 ms, 1 ms later."""
    computed = start + 1 + copy
    return {
        "startEnqMs": start, "endEnqMs": start + 0.5,
        "startH2dMs": start + 1, "endH2dMs": computed,
        "startComputeMs": computed, "endComputeMs": computed + 2,
        "startD2hMs": computed + 2, "endD2hMs": computed + 2 + copy,
        "h2dMs": copy, "computeMs": 2.0, "d2hMs": copy, "latencyMs": 2 + 2 * copy, "endToEndMs": 2 + 2 * copy,
    }  # fmt: skip


def only(found: Diagnosis) -> Timeline:
    (line,) = found.attribution.timelines
    return line


def test_queries_compute_and_copy_on_the_device() -> None:
    found = diagnose([query(10.0 * number) for number in range(5)])
    line = only(found)
    assert (found.trace.format, found.trace.defects) == ("trtexec", ())
    assert (line.kind, line.device, line.activities) == ("device", 0, 15)
    assert line.busy == {"compute": 5 * 2_000_000, "exposed_communication": 0, "exposed_copy": 10 * 250_000}
    assert line.unlinked_activities == 0
    assert line.idle == {
        "unattributed_host_silent": 4 * 6_500_000,
        "launch_overhead": 4 * 500_000,
        "launch_latency": 4 * 500_000,
    }
    assert {copy.kind for copy in found.attribution.copies} == {
        "Memcpy HtoD (Host -> Device)",
        "Memcpy DtoH (Device -> Host)",
    }


def test_without_copies_the_host_that_enqueues_is_to_blame() -> None:
    line = only(diagnose([query(10.0 * number, copy=0) for number in range(5)]))
    assert line.busy["compute"] == 5 * 2_000_000
    assert line.unlinked_activities == 0
    assert line.idle["launch_latency"] == 4 * 500_000
    assert sum(line.idle.values()) == 4 * 8_000_000


def test_times_of_six_digits_are_said_to_be_rounded() -> None:
    found = defects(ingest.load(io.BytesIO(json.dumps([query(990.0), query(1234.56)]).encode())))
    assert found["rounded_times"][0] == 1


LAYERS = [
    {"count": 200},
    {"name": "conv1 + relu", "timeMs": 20.5, "averageMs": 0.1025, "percentage": 41},
    {"name": "fc", "timeMs": 29.5, "averageMs": 0.1475, "percentage": 59},
]


def test_a_profile_of_layers_is_one_average_run_and_says_so() -> None:
    found = diagnose(LAYERS)
    line = only(found)
    assert (line.busy["compute"], dict(line.idle)) == (250_000, {})
    assert {kernel.name: kernel.device_ns for kernel in found.attribution.kernels} == {
        "conv1 + relu": 102_500,
        "fc": 147_500,
    }
    assert found.advice.verdict.startswith("`fc` takes 59 % of an average run of 250 us")
    assert found.trace.defects[0].kind == "averages_only"
    assert found.trace.defects[0].count == 200


# ----------------------------------------------------------------------------------------------- rocprofv3

CPU, FIRST_GPU, SECOND_GPU = 11, 22, 33
KINDS = [
    {"kind": "NONE", "operations": ["NONE"]},
    {"kind": "HIP_RUNTIME_API", "operations": ["hipLaunchKernel", "hipMemcpyAsync", "hipStreamSynchronize"]},
    {"kind": "KERNEL_DISPATCH", "operations": ["NONE", "KERNEL_DISPATCH_COMPLETE"]},
    {"kind": "MEMORY_COPY", "operations": ["NONE", "MEMORY_COPY_HOST_TO_DEVICE"]},
    {"kind": "MARKER_CORE_API", "operations": ["roctxMarkA", "roctxRangePushA"]},
]


def record(kind: int, operation: int, correlation: int, start: int, end: int, **more: Any) -> dict[str, Any]:
    ids = {"internal": correlation, "external": 0}
    times = {"start_timestamp": start, "end_timestamp": end, "thread_id": 71}
    return {"size": 64, "kind": kind, "operation": operation, "correlation_id": ids, **times, **more}


def dispatch(correlation: int, start: int, end: int, agent: int = FIRST_GPU) -> dict[str, Any]:
    info = {
        "agent_id": {"handle": agent},
        "queue_id": {"handle": 5},
        "kernel_id": 3,
        "workgroup_size": {"x": 64, "y": 1, "z": 1},
        "grid_size": {"x": 1000, "y": 1, "z": 1},
    }
    return record(2, 1, correlation, start, end, dispatch_info=info)


def copied(correlation: int, start: int, end: int, source: int, target: int) -> dict[str, Any]:
    ends = {"src_agent_id": {"handle": source}, "dst_agent_id": {"handle": target}}
    return record(3, 1, correlation, start, end, bytes=4096, **ends)


BUFFERS = {
    "kernel_dispatch": [dispatch(1, 1100, 1500), dispatch(3, 3100, 3500), dispatch(9, 100, 200, SECOND_GPU)],
    "hip_api": [
        record(1, 0, 1, 1000, 1050),
        record(1, 2, 2, 1060, 2500),
        record(1, 0, 3, 2600, 2700),
        record(1, 1, 4, 3000, 3050),
    ],
    "memory_copy": [copied(4, 3600, 3900, CPU, FIRST_GPU)],
    "marker_api": [record(4, 1, 7, 900, 2550)],
}
TOOL = {
    "metadata": {"pid": 70, "init_time": 1, "fini_time": 9000},
    "agents": [
        {"size": 300, "id": {"handle": CPU}, "type": 1, "name": "EPYC"},
        {"size": 300, "id": {"handle": FIRST_GPU}, "type": 2, "name": "gfx942", "product_name": "Instinct MI300X"},
        {"size": 300, "id": {"handle": SECOND_GPU}, "type": 2, "name": "gfx942"},
    ],
    "counters": [{"id": {"handle": 4}, "name": "SQ_WAVES"}],
    "strings": {"callback_records": [], "buffer_records": KINDS, "marker_api": [{"key": 7, "value": "train step"}]},
    "code_objects": [],
    "kernel_symbols": [{"kernel_id": 3, "kernel_name": "_Z3addPf.kd", "formatted_kernel_name": "add(float*)"}],
    "callback_records": {"counter_collection": [[1, 2], {"records": [{"value": 1.5e300}]}]},
    "buffer_records": BUFFERS,
}
ROCPROF = {"rocprofiler-sdk-tool": [TOOL]}


def test_kernels_copies_and_calls_of_rocm_are_linked() -> None:
    found = diagnose(ROCPROF)
    assert (found.trace.format, found.trace.defects) == ("rocprofv3", ())
    first, second = found.attribution.timelines
    assert (first.process, first.device, first.device_name) == ("70", 0, "Instinct MI300X")
    assert first.busy == {"compute": 800, "exposed_communication": 0, "exposed_copy": 300}
    assert (first.unlinked_activities, second.unlinked_activities) == (0, 1)
    # 1500: the stream is waited for until 2500, a range is open until 2550; the call is 2600 to 2700; then it starts.
    assert first.idle["synchronization"] >= 1000
    assert first.idle["launch_latency"] == 400
    assert first.idle["queued_cross_stream"] == 100
    assert sum(first.idle.values()) == 1700
    assert {kernel.name for kernel in found.attribution.kernels} == {"add(float*)"}
    assert [(copy.kind, copy.bytes) for copy in found.attribution.copies] == [("Memcpy HtoD (Host -> Device)", 4096)]


def test_tables_may_come_after_the_records_that_refer_to_them() -> None:
    turned = {"rocprofiler-sdk-tool": [dict(reversed(TOOL.items()))]}
    facts = [
        [(line.device, dict(line.busy), dict(line.idle)) for line in diagnose(one).attribution.timelines]
        for one in (ROCPROF, turned)
    ]
    assert facts[0] == facts[1]
    trace = ingest.load(io.BytesIO(json.dumps(turned).encode()), fields=("grid", "block", "bytes"))
    kernel = trace.rows(Category.KERNEL)[0]
    shape = [trace.strings[trace.columns[name][kernel]] for name in ("grid", "block")]
    assert shape == ["[16, 1, 1]", "[64, 1, 1]"]


# ----------------------------------------------------------------------------------------------- all of them

WHOLE = {
    "triton-server": json.dumps([*request(1, 1000), *request(2, 2000)]),
    "trtexec": json.dumps([query(10.0 * number) for number in range(3)], indent=1),
    "rocprofv3": json.dumps(ROCPROF, indent=2),
}


@pytest.mark.parametrize("form", WHOLE)
def test_a_file_that_breaks_off_anywhere_is_read_up_to_there_or_refused(form: str) -> None:
    data = WHOLE[form].encode()
    rows = len(ingest.load(io.BytesIO(data)))
    for size in range(len(data) // 2, len(data) - 1, 7):
        try:
            trace = ingest.load(io.BytesIO(data[:size]))
        except (UnreadableTraceError, UnknownFormatError):
            continue
        assert len(trace) <= rows
        assert {"truncated", "no_events"} & set(defects(trace))
        check_sums(perfkit.diagnose(io.BytesIO(data[:size])).attribution)


def vandals() -> list[tuple[str, Callable[[str], str]]]:
    return [
        ("nan", lambda text: text.replace("2000", "NaN").replace("2.0", "NaN")),
        ("huge", lambda text: text.replace("2000", "9" * 400).replace("1100", "1e400").replace("2.0", "1e999")),
        ("negative", lambda text: text.replace(": 1", ": -1")),
        ("types", lambda text: text.replace(": 1", ': "x"').replace(": 2", ": null").replace(": 3", ": [[]]")),
        ("nested", lambda text: text.replace("2000", "[" * 5000).replace("2.0", "[" * 5000)),
        ("names", lambda text: text.replace("resnet", "\\ud800\\u0000<script>").replace("add", "\\u001b[31m")),
        ("bytes", lambda text: text.replace("resnet", "\udcff").replace("add", "\udcff")),
    ]


@pytest.mark.parametrize("form", WHOLE)
@pytest.mark.parametrize("vandal", [vandal for _, vandal in vandals()], ids=[name for name, _ in vandals()])
def test_whatever_is_in_it_is_no_exception(form: str, vandal: Callable[[str], str]) -> None:
    data = vandal(WHOLE[form]).encode("utf-8", "surrogateescape")
    try:
        check_sums(perfkit.diagnose(io.BytesIO(data)).attribution)
    except (UnreadableTraceError, UnknownFormatError):
        return


@pytest.mark.parametrize("document", [{"a": 1}, [{"b": 2}], [[1]], {"rocprofiler": []}])
def test_an_unknown_file_is_told_what_it_looks_like_and_what_is_read(document: Any) -> None:
    with pytest.raises(UnknownFormatError) as refused:
        ingest.load(io.BytesIO(json.dumps(document).encode()))
    for known in ("Nsight Systems", "ONNX Runtime", "rocprofv3", "Triton Inference Server", "trtexec"):
        assert known in str(refused.value)


def test_only_wanted_columns() -> None:
    for form in WHOLE.values():
        trace = ingest.load(io.BytesIO(form.encode()), fields=("stream", "registers"))
        assert set(trace.columns) == {"start", "end", "name", "category", "thread", "stream", "registers"}
