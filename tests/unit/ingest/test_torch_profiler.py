"""What the content of a trace becomes: categories, threads, times, devices, header, defects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfkit import ingest
from perfkit.errors import PerfkitError, UsageError
from perfkit.ingest.defects import MESSAGES
from perfkit.model.columns import COLUMNS, DEFAULT_FIELDS, MISSING_INT, MISSING_SMALL
from perfkit.model.trace import Category, Trace
from tests.unit.ingest.hand_written import defects, document, event, kernel, load, metadata, names

pytestmark = pytest.mark.usefixtures("scanner")

SHARED = Path(__file__).parents[4] / "shared" / "traces"
OWN = Path(__file__).parents[3] / "traces"

shared_traces = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared traces are not on this machine")


def thread_names(trace: Trace) -> list[str]:
    return [trace.threads[index].name for index in trace.columns["thread"].tolist()]


# -------------------------------------------------------------------------------------------------- categories


@pytest.mark.parametrize(
    ("cat", "name", "expected"),
    [
        ("cpu_op", "aten::add", Category.OPERATOR),
        ("Operator", "aten::add", Category.OPERATOR),
        ("Operator", "ProfilerStep#3", Category.ANNOTATION),
        ("Operator", "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__", Category.ANNOTATION),
        ("user_annotation", "aten::not_really", Category.ANNOTATION),
        ("cuda_runtime", "cudaLaunchKernel", Category.RUNTIME),
        ("Runtime", "cudaLaunchKernel", Category.RUNTIME),
        ("cuda_driver", "cuLaunchKernel", Category.RUNTIME),
        ("xpu_runtime", "zeCommandListAppend", Category.RUNTIME),
        ("privateuse1_driver", "launch", Category.RUNTIME),
        ("python_function", "train.py(3): step", Category.PYTHON),
        ("cuda_sync", "Stream Sync", Category.SYNC_RECORD),
        ("overhead", "Buffer Flush", Category.OVERHEAD),
        ("kernel", "gemm", Category.KERNEL),
        ("Kernel", "gemm", Category.KERNEL),
        ("gpu_memcpy", "Memcpy HtoD", Category.MEMCPY),
        ("Memcpy", "Memcpy HtoD", Category.MEMCPY),
        ("gpu_memset", "Memset", Category.MEMSET),
        ("Memset", "Memset", Category.MEMSET),
        ("gpu_user_annotation", "step", Category.DEVICE_ANNOTATION),
        ("Trace", "PyTorch Profiler (0)", Category.SPAN),
    ],
)
def test_category_drift(cat: str, name: str, expected: Category) -> None:
    trace = load(document(event(name, cat)))
    assert trace.columns["category"].tolist() == [expected]
    assert trace.defects == ()


def test_operators_and_annotations_of_one_category_are_told_apart_by_name() -> None:
    trace = load(document(*(event(name, "Operator") for name in ("aten::a", "step", "aten::a", "loader", "c10d::b"))))
    one, two = Category.OPERATOR, Category.ANNOTATION
    assert trace.columns["category"].tolist() == [one, two, one, two, one]


def test_unknown_categories_are_kept_counted_and_named() -> None:
    trace = load(document(event("a", "weather"), event("b", None), event("c", "weather"), event("d")))
    assert trace.columns["category"].tolist() == [Category.OTHER] * 3 + [Category.OPERATOR]
    (defect,) = trace.defects
    assert (defect.kind, defect.count) == ("unknown_category", 3)
    assert "'weather'" in defect.message


# -------------------------------------------------------------------------------------------------- threads


def test_threads_are_pairs_of_process_and_thread() -> None:
    events = [
        event(pid=1, tid=5),
        event(pid=1, tid="5"),  # the same as text
        event(pid=2, tid=5),
        event(pid=1, tid=6),
        kernel(device=0, stream=7),
        event("old", "Kernel", pid=0, tid="stream 7"),
        event(pid=None, tid=None),
    ]
    labels = [
        metadata("process_labels", 0, 0, labels="GPU 0"),
        metadata("process_labels", 1, 0, labels="CPU"),
        metadata("thread_name", 1, 5, name="thread 5 (loader)"),
        metadata("thread_name", 0, 7, name="stream 7 "),
        metadata("thread_name", 2, 5, name=3),
    ]
    trace = load(document(*events, *labels))
    threads = trace.columns["thread"]
    assert threads.dtype == np.int32
    keys = [(trace.threads[index].process, trace.threads[index].key) for index in threads.tolist()]
    expected = [("1", "5"), ("1", "5"), ("2", "5"), ("1", "6"), ("0", "7"), ("0", "stream 7"), ("", "")]
    assert keys == expected
    assert thread_names(trace)[:5] == ["thread 5 (loader)"] * 2 + ["thread 5", "thread 6", "GPU 0 stream 7"]
    assert len(trace.threads) == len(set(expected))


def test_more_pairs_than_a_table_can_hold() -> None:
    events = [event(pid=index, tid=index * 7) for index in range(2100)]
    trace = load(document(*events, *events))
    assert len(trace.threads) == len(events)
    assert [trace.threads[row].process for row in trace.columns["thread"].tolist()] == [*map(str, range(2100))] * 2
    assert trace.threads[trace.columns["thread"][5]].key == "35"


def test_merged_ranks_stay_apart() -> None:
    first = json.loads(document(event(pid=100), kernel(device=0), distributedInfo={"rank": 0}))
    second = json.loads(document(event(pid=200), kernel(device=1), distributedInfo={"rank": 1}))
    joined = json.dumps(first).encode() + b"\n" + json.dumps(second).encode()
    for text in (joined, document(*first["traceEvents"], *second["traceEvents"])):
        trace = load(text)
        assert len(trace) == 4
        assert [thread.process for thread in trace.threads] == ["100", "0", "200", "1"]
        assert trace.defects == ()


# -------------------------------------------------------------------------------------------------- device


def test_device_and_stream_from_the_keys_where_the_arguments_are_silent() -> None:
    events = [
        event("k", "Kernel", pid=3, tid="stream 20"),
        event("c", "gpu_memcpy", pid="2", tid=7, args={"device": 5}),
        event("m", "gpu_memset", pid="host", tid="elsewhere"),
        event("g", "gpu_user_annotation", pid=1, tid=9),
        event("h", "cpu_op", pid=1, tid=9),
        event("x", "kernel", pid=99999999999, tid=-1),
    ]
    trace = load(document(*events))
    none = MISSING_SMALL
    assert trace.columns["device"].tolist() == [3, 5, none, 1, none, none]
    assert trace.columns["stream"].tolist() == [20, 7, none, 9, none, none]
    assert trace.columns["device"].dtype == trace.columns["stream"].dtype == np.int32


def test_fields_are_read_when_asked_and_only_then() -> None:
    args = {"External id": 4, "grid": [1, 2, 3], "bytes": 2**40, "Call stack": "a.py(1): f"}
    text = document(event(args=args))
    event_columns = {"start", "end", "name", "category", "thread"}
    assert set(load(text).columns) == event_columns | set(DEFAULT_FIELDS)
    assert set(load(text, fields=()).columns) == event_columns
    trace = load(text, fields=["external_id", "grid", "bytes", "grid"])
    assert set(trace.columns) == event_columns | {"external_id", "grid", "bytes"}
    assert trace.columns["external_id"].tolist() == [4]
    assert trace.columns["bytes"].tolist() == [2**40]
    assert trace.strings[trace.columns["grid"][0]] == "[1, 2, 3]"
    everything = [column.name for column in COLUMNS if column.place == "args"]
    assert set(load(text, fields=everything).columns) == event_columns | set(everything)


@pytest.mark.parametrize("fields", [["shapes", "shape"], ["start"], ["process"], "shape"])
def test_unknown_field(fields: Any) -> None:
    with pytest.raises(UsageError, match=r"there is no field '(shape|start|process)'.*external_id.*total_reserved"):
        load(document(event()), fields=fields)


def test_memory_rows_are_points_in_time() -> None:
    memory = {"ph": "i", "s": "t", "name": "[memory]", "pid": 1, "tid": 1, "ts": 1002}
    known = {**memory, "cat": "cpu_instant_event", "args": {"Total Allocated": 64, "Addr": 9, "Bytes": -8}}
    old = {**memory, "args": {"Total Allocated": 32}}
    trace = load(document(event(), known, old), fields=["total_allocated", "address", "bytes"])
    assert trace.columns["category"].tolist() == [Category.OPERATOR, Category.MEMORY, Category.MEMORY]
    assert trace.columns["total_allocated"].tolist() == [MISSING_INT, 64, 32]
    assert trace.columns["end"].tolist() == [5000, 2000, 2000]
    assert trace.defects == ()


# -------------------------------------------------------------------------------------------------- time

BASE_NS = 1_719_853_884_000_000_000


@pytest.mark.parametrize(
    ("header", "first", "epoch_ns", "clock"),
    [
        ({}, 1_623_142_623_460_016, 1_623_142_623_460_016_000, "unix"),
        ({"baseTimeNanoseconds": BASE_NS}, 1_212_075_525_586.016, BASE_NS + 1_212_075_525_586_016, "unix"),
        ({"baseTimeNanoseconds": str(BASE_NS)}, 7, BASE_NS + 7000, "unix"),
        ({"baseTimeNanoseconds": None}, 7, 7000, "profiler"),
        ({"baseTimeNanoseconds": 10**30}, 7, 7000, "profiler"),
        ({"baseTimeNanoseconds": True}, 7, 7000, "profiler"),
        ({}, 0, 0, "profiler"),
        ({}, -5, -5000, "profiler"),
    ],
)
def test_epoch(header: dict[str, Any], first: float, epoch_ns: int, clock: str) -> None:
    trace = load(document(event(ts=first + 3), event(ts=first), **header))
    assert (trace.epoch_ns, trace.clock) == (epoch_ns, clock)
    assert trace.columns["start"].tolist() == [3000, 0]
    assert trace.columns["end"].tolist() == [8000, 5000]


def test_nanoseconds_survive() -> None:
    text = b'[{"ph":"X","ts":1751410836000000.001,"dur":0.002},{"ph":"X","ts":"1751410836000000.004","dur":"1.5e-3"}]'
    trace = load(text)
    assert trace.epoch_ns == 1_751_410_836_000_000_001
    assert trace.columns["start"].tolist() == [0, 3]
    assert trace.columns["end"].tolist() == [2, 4]


def test_durations_that_cannot_be_used() -> None:
    durations: list[Any] = [-3, None, 5_000_000_000_000_000, 1e300, 7, "no"]
    trace = load(document(*(event(ts=1000 + i, dur=dur) for i, dur in enumerate(durations))))
    lengths = trace.columns["end"] - trace.columns["start"]
    assert lengths.tolist() == [0, 0, 0, 0, 7000, 0]
    found = defects(trace)
    assert found["negative_duration"] == (1, -1)
    assert found["number_out_of_range"][0] == 2
    assert found["missing_duration"][0] == 3  # absent, not a number, out of range


def test_activities_without_timestamps_are_left_out() -> None:
    lost = kernel("lost", ts=0, dur=0)
    later = 1_419_247_332_500.5
    trace = load(document(event(ts=later), lost, kernel("kept", ts=later + 1), event("host", ts=0)))
    assert names(trace) == ["aten::add", "kept"]
    assert trace.epoch_ns == 1_419_247_332_500_500
    assert defects(trace) == {"activity_without_timestamps": (1, -1), "event_without_time": (1, -1)}
    assert {len(column) for column in trace.columns.values()} == {2}


def test_defects_of_rows_name_the_first_one_in_the_file() -> None:
    """Columns hold no offsets of rows, so the message says which event it was and when."""
    trace = load(
        document(
            kernel("lost", ts=0, dur=0),
            event("host", ts=0),
            event("good", ts=1_700_000_000_000_000),
            kernel("back", ts=1_700_000_000_000_002, dur=-3),
            kernel("again", ts=1_700_000_000_000_001, dur=-3),
            event("open", ts=1_700_000_000_000_004, dur=None),
        )
    )
    assert {defect.kind: defect.message.partition(" (")[2] for defect in trace.defects} == {
        "activity_without_timestamps": "first 'lost')",
        "event_without_time": "first 'host')",
        "negative_duration": "first 'back' at 0.002000 ms)",
        "missing_duration": "first 'open' at 0.004000 ms)",
    }


def test_a_clock_that_starts_at_zero_is_no_defect() -> None:
    trace = load(document(kernel("first", ts=0, dur=0), event(ts=4)))
    assert names(trace) == ["first", "aten::add"]
    assert trace.defects == ()


def test_events_centuries_away_are_left_out() -> None:
    near = [event(ts=1_700_000_000_000_000 + i) for i in range(3)]
    far = [event("far", ts=-9_000_000_000_000_000), event("far", ts=9_000_000_000_000_000)]
    trace = load(document(*far, *near))
    assert names(trace) == ["aten::add"] * 3
    assert defects(trace) == {"time_out_of_range": (2, -1)}
    assert trace.columns["end"].tolist() == [5000, 6000, 7000]


# -------------------------------------------------------------------------------------------------- header


def test_header() -> None:
    card = {"id": 1, "name": "NVIDIA H100", "uuid": "GPU-1", "numSms": 132}
    trace = load(
        document(
            event(),
            {"ph": "s", "id": 1, "ts": 5},
            metadata("process_name", 1, 0, name="python"),
            deviceProperties=[card, 3, {"name": None}],
            distributedInfo={"rank": 3, "world_size": "8", "backend": "nccl"},
            traceName="a\tb",
        )
    )
    assert (trace.rank, trace.world_size, trace.events, trace.format) == (3, 8, 3, "torch-profiler")
    assert [(device.index, device.name, device.uuid) for device in trace.devices] == [
        (1, "NVIDIA H100", "GPU-1"),
        (2, "", ""),
    ]
    assert trace.devices[0].properties["numSms"] == 132
    assert trace.header["traceName"] == "a\tb"
    assert "traceEvents" not in trace.header


@pytest.mark.parametrize(
    "info", [None, [], 3, {"rank": -1}, {"rank": True}, {"rank": "x"}, {"rank": 2**40}, {"rank": 1.5}]
)
def test_rank_that_is_none(info: Any) -> None:
    assert load(document(event(), distributedInfo=info)).rank is None


def test_header_values_that_are_not_json_are_left_out() -> None:
    text = b'{"good": 1, "bad": {"a": nope}, "traceEvents": [{"ph": "X", "ts": 1, "dur": 1, "cat": "cpu_op"}], "deep": '
    text += b"[" * 100_000 + b"]" * 100_000 + b', "long": ' + b"9" * 5000 + b"}"
    trace = load(text)
    assert trace.header == {"good": 1}
    assert defects(trace)["unreadable_header"] == (3, -1)


# -------------------------------------------------------------------------------------------------- defects

ONE = json.dumps(event())


@pytest.mark.parametrize(
    ("text", "rows", "expected"),
    [
        pytest.param(f'[{ONE}, {{"ph": "X", "ts"', 1, {"truncated_event", "truncated"}, id="cut in an event"),
        pytest.param(f'{{"traceEvents": [{ONE},', 1, {"truncated"}, id="cut between events"),
        pytest.param(f"[{ONE} {ONE}]", 2, {"missing_comma"}, id="no comma"),
        pytest.param(f"[{ONE},,{ONE},]", 2, {"extra_comma"}, id="too many commas"),
        pytest.param(f"[{ONE}, null, 7, {ONE}]", 2, {"event_not_object"}, id="no objects"),
        pytest.param(f'[{{"ph": "X" "ts"}}, {ONE}]', 1, {"broken_event"}, id="broken syntax"),
        pytest.param(f'[{{"ph": "X", "dur": 1}}, {ONE}]', 1, {"event_without_time"}, id="no time"),
        pytest.param(f"[{ONE}] trailing", 1, {"trailing_data"}, id="trailing"),
        pytest.param(ONE.replace("1000", "NaN").join("[]").replace("}]", f"}}, {ONE}]"), 1, None, id="NaN"),
        pytest.param(ONE.replace("::add", "\\U").join("[]"), 1, {"bad_escape"}, id="Windows path"),
        pytest.param(ONE.replace("::add", "\x01").join("[]"), 1, {"control_character"}, id="control character"),
        pytest.param(ONE.replace("1000", "1e30").join("[]").replace("}]", f"}}, {ONE}]"), 1, None, id="huge time"),
    ],
)
def test_malformed(text: str, rows: int, expected: set[str] | None) -> None:
    trace = load(text.encode())
    assert len(trace) == rows
    found = {defect.kind for defect in trace.defects}
    assert found == expected if expected is not None else "event_without_time" in found
    assert all(defect.count >= 1 and defect.message for defect in trace.defects)


def test_invalid_utf8_is_shown_with_a_replacement_character() -> None:
    trace = load(document(event("NAME")).replace(b"NAME", b"na\xffme"))
    assert names(trace) == ["na\ufffdme"]
    assert set(defects(trace)) == {"invalid_utf8"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"[]", "active window"),
        (document(), "active window"),
        (document(metadata("process_name", 1, 0, name="python")), "active window"),
        (document({"ph": "B", "ts": 3}, {"ph": "B", "ts": 3}, {"ph": "E", "ts": 3}), "2 of phase 'B', 1 of phase 'E'"),
    ],
)
def test_no_events(text: bytes, says: str) -> None:
    trace = load(text)
    assert len(trace) == 0
    assert defects(trace) == {"no_events": (1, -1)}
    assert says in trace.defects[0].message
    assert all(column.shape == (0,) for column in trace.columns.values())
    assert trace.rows(Category.KERNEL).tolist() == []


def test_a_string_of_ten_megabytes_is_cut() -> None:
    trace = load(document(event("x" * 10_000_000), event()))
    assert [len(name) for name in names(trace)] == [1 << 20, len("aten::add")]
    assert set(defects(trace)) == {"oversized_value"}


def test_arguments_nested_deeply_are_skipped() -> None:
    deep = "[" * 200_000 + "]" * 200_000
    trace = load(document(event(args="DEEP"), event()).replace(b'"DEEP"', f'{{"a": {deep}, "stream": 4}}'.encode()))
    assert trace.columns["stream"].tolist() == [4, MISSING_SMALL]
    assert trace.defects == ()


def test_huge_numbers_are_absent() -> None:
    big = "9" * 400
    text = document(event(args={"correlation": "BIG", "stream": 7})).replace(b'"BIG"', big.encode())
    trace = load(text)
    assert trace.columns["correlation"].tolist() == [MISSING_INT]
    assert trace.columns["stream"].tolist() == [7]
    assert set(defects(trace)) == {"number_out_of_range"}


def test_every_defect_of_every_test_has_words() -> None:
    assert all(message and message[0].islower() and "\n" not in message for message in MESSAGES.values())


# -------------------------------------------------------------------------------------------------- real traces

MALFORMED = {
    "bad_escape_windows_paths.json": (2060, {"bad_escape"}),
    "bare_NA_value.json": (2060, {"bare_value"}),
    "control_char_in_string.json": (2060, {"control_character"}),
    "empty_events.json": (0, {"no_events"}),
    "invalid_utf8_name.json": (2060, {"invalid_utf8"}),
    "kernel_dur_overflow.json": (2060, set()),
    "kernels_ts0_dur0.json": (2050, {"activity_without_timestamps"}),
    "missing_closing_bracket.json": (2060, {"truncated"}),
    "no_gpu_events.json": (1999, set()),
    "no_runtime_events.json": (1928, set()),
    "top_level_list.json": (2060, set()),
    "truncated_gzip.json.gz": (914, {"truncated_compression", "truncated", "truncated_event"}),
    "truncated_mid_event.json": (1162, {"truncated", "truncated_event"}),
}


@shared_traces
@pytest.mark.parametrize("file", MALFORMED)
def test_shared_malformed_traces(file: str) -> None:
    rows, expected = MALFORMED[file]
    trace = ingest.load(SHARED / "malformed" / file)
    assert len(trace) == rows
    assert {defect.kind for defect in trace.defects} == expected
    if "truncated" in expected:
        read = next(defect.first_offset for defect in trace.defects if defect.kind == "truncated")
        assert read > 600_000


@shared_traces
@pytest.mark.parametrize(
    ("file", "says"),
    [("git_lfs_pointer.json.gz", "git lfs pull"), ("zero_bytes.json", "is empty")],
)
def test_shared_files_without_a_trace(file: str, says: str) -> None:
    with pytest.raises(PerfkitError, match=says):
        ingest.load(SHARED / "malformed" / file)


@shared_traces
@pytest.mark.parametrize("folder", ["hta", "kineto", "param", "tracelens"])
def test_shared_traces_are_read_without_defects(folder: str) -> None:
    found = ingest.find(SHARED / folder)
    assert len(found) >= 5
    for place in found:
        trace = ingest.load(place.path)
        assert trace.defects == ()
        assert len(trace) > 0
        assert trace.columns["start"].min() == 0
        assert (trace.columns["end"] >= trace.columns["start"]).all()
        assert trace.columns["thread"].max() < len(trace.threads)
        assert Category.OTHER not in trace.columns["category"]
        on_device = trace.rows(Category.KERNEL, Category.MEMCPY, Category.MEMSET)
        assert (trace.columns["device"][on_device] >= 0).all()
        assert (trace.columns["stream"][on_device] >= 0).all()


@pytest.mark.parametrize("path", sorted(OWN.glob("*.json*")), ids=lambda path: path.name)
def test_own_traces_are_read_without_defects(path: Path) -> None:
    trace = ingest.load(path)
    assert trace.defects == ()
    assert trace.clock == "unix"
    assert len(trace.rows(Category.OPERATOR)) > 100
