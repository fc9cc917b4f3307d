"""The sample traces are what their manifest says."""

import gzip
import hashlib
import json
import re
import statistics
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
TRACES = REPOSITORY / "traces"
MANIFEST = tomllib.loads((TRACES / "MANIFEST.toml").read_text(encoding="utf-8"))
ENTRIES = {entry["file"]: entry for entry in MANIFEST["trace"]}

Row = dict[str, Any]

every_trace = pytest.mark.parametrize("file", sorted(ENTRIES))


def read(file: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(gzip.decompress((TRACES / file).read_bytes()))
    return document


def rows(file: str, name: str = "") -> list[Row]:
    """Complete events whose name begins so."""
    return [row for row in read(file)["traceEvents"] if row["ph"] == "X" and row["name"].startswith(name)]


def strings(value: object) -> list[str]:
    """Every key and every text in a JSON document."""
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in [key, *strings(item)]]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


def of_program(name: str) -> list[str]:
    return [file for file in sorted(ENTRIES) if file.startswith(f"{name}_")]


def test_manifest_lists_every_trace_and_no_other() -> None:
    assert {path.name for path in TRACES.glob("*.json*")} == set(ENTRIES)
    assert len(MANIFEST["trace"]) == len(ENTRIES)


@pytest.mark.parametrize("program", ["healthy", "launch_bound", "loader_bound", "loader_repaired", "sync_bound"])
def test_each_program_has_a_cpu_trace(program: str) -> None:
    assert f"{program}_cpu.json.gz" in ENTRIES


@every_trace
def test_content_is_the_one_recorded(file: str) -> None:
    content = (TRACES / file).read_bytes()
    assert len(content) == ENTRIES[file]["bytes"] < 1_000_000
    assert hashlib.sha256(content).hexdigest() == ENTRIES[file]["sha256"]


@every_trace
def test_recording_can_be_repeated(file: str) -> None:
    entry = ENTRIES[file]
    assert (REPOSITORY / entry["program"]).is_file()
    name = entry["command"].split()[3]
    assert file.startswith(f"{name}_")
    assert {"torch", "python", "cpu", "cpus", "system"} <= entry["machine"].keys()
    assert ("gpu" in entry["machine"]) == (entry["machine"]["device"] == "cuda")


@every_trace
def test_nothing_names_the_recording_machine(file: str) -> None:
    document = read(file)
    # Not every version of torch writes the host name.
    assert document.get("host_name", "recorder") == "recorder"
    assert document["traceName"] == file.removesuffix(".gz")
    absolute = re.compile(r"(?:^|[\s\"'(=:,~])/\w|[A-Za-z]:\\")
    assert [text for text in strings([document, ENTRIES[file]]) if absolute.search(text)] == []


@every_trace
def test_steps_and_details_are_recorded(file: str) -> None:
    entry, recorded = ENTRIES[file], rows(file)
    marks = {row["name"] for row in recorded if row["name"].startswith("ProfilerStep#")}
    assert len(marks) == entry["steps"]
    assert any(row.get("cat") == "python_function" for row in recorded) == entry["with_stack"]
    assert any("Input Dims" in row.get("args", {}) for row in recorded) == entry["record_shapes"]


@every_trace
def test_truth_is_complete_and_possible(file: str) -> None:
    truth = ENTRIES[file]["truth"]
    assert 0 <= truth["fault_ns"] <= truth["step_ns"]
    assert 0 <= truth["profiled_fault_ns"] <= truth["profiled_host_step_ns"]
    assert (truth["fault_ns"] > 0) == bool(truth["fault"])
    assert len(truth["rounds_step_ns"]) == truth["rounds"]
    assert truth["step_ns"] == statistics.median(truth["rounds_step_ns"])
    if "repaired_step_ns" in truth:
        assert truth["repaired_step_ns"] == statistics.median(truth["repaired_rounds_step_ns"])


@every_trace
def test_host_steps_last_as_long_as_the_stopwatch_says(file: str) -> None:
    # The stopwatch is inside the mark; between two marks the profiler works.
    on_host = [row["dur"] for row in rows(file, "ProfilerStep#") if row.get("cat") == "user_annotation"]
    mean_ns = 1000 * statistics.mean(on_host)
    stopwatch_ns = ENTRIES[file]["truth"]["profiled_host_step_ns"]
    assert stopwatch_ns <= mean_ns < stopwatch_ns + max(0.03 * stopwatch_ns, 200_000)


@pytest.mark.parametrize("file", of_program("loader_bound") + of_program("loader_repaired"))
def test_loader_spans_take_the_share_of_the_planted_fault(file: str) -> None:
    truth = ENTRIES[file]["truth"]
    steps_us = sum(row["dur"] for row in rows(file, "ProfilerStep#") if row.get("cat") == "user_annotation")
    spans = [row for row in rows(file, "enumerate(DataLoader)#") if row.get("cat") == "user_annotation"]
    assert len(spans) == ENTRIES[file]["steps"]
    share = sum(row["dur"] for row in spans) / steps_us
    assert share == pytest.approx(truth["profiled_fault_ns"] / truth["profiled_host_step_ns"], abs=0.02)


@pytest.mark.parametrize("file", of_program("loader_bound"))
def test_loader_is_most_of_the_step_and_its_repair_saves(file: str) -> None:
    truth = ENTRIES[file]["truth"]
    assert truth["fault_ns"] > 0.6 * truth["step_ns"]
    assert truth["repaired_step_ns"] < 0.7 * truth["step_ns"]


@pytest.mark.parametrize("file", of_program("sync_bound"))
def test_sync_bound_asks_the_device_in_each_step(file: str) -> None:
    calls = Counter(row["name"] for row in rows(file, "aten::"))
    micro_batches = 4 * ENTRIES[file]["steps"]
    assert calls["aten::nonzero"] == micro_batches
    assert calls["aten::item"] > micro_batches


@pytest.mark.parametrize("file", of_program("launch_bound"))
def test_launch_bound_is_hundreds_of_tiny_operators(file: str) -> None:
    operators = rows(file, "aten::")
    assert len(operators) > 500 * ENTRIES[file]["steps"]
    assert statistics.median(row["dur"] for row in operators) < 20
    assert ENTRIES[file]["truth"]["repaired_step_ns"] < 0.5 * ENTRIES[file]["truth"]["step_ns"]
