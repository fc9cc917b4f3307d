"""Real exports of Nsight Systems: what is known of each, what old and odd schemas do, and that none is touched."""

from __future__ import annotations

import csv
import hashlib
import itertools
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

import perfkit
from perfkit.model.trace import Category
from tests.integration.shared import TRACES, attribution, load, needs_shared
from tests.unit.cli.command_line import run

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.model.trace import Trace

pytestmark = needs_shared

FOLDER = TRACES / "nsys"
CLOVERLEAF = "nsys/pipit/perlmutter-cloverleaf-cuda.sqlite"
POWER_ITERATION = "nsys/nsightful/power_iteration__baseline.sqlite"
NO_KERNELS = "nsys/python_c_nvidia/report1.sqlite"
FILES = sorted(path.relative_to(TRACES).as_posix() for path in FOLDER.rglob("*.sqlite"))

COPY_KINDS = {f"CUDA_MEMCPY_KIND_{kind.upper()}": f"Memcpy {kind}" for kind in ("HtoD", "DtoH", "DtoD")}


def rows(trace: Trace, *categories: Category) -> list[tuple[Any, ...]]:
    """Start and end on the clock of the recording, device, stream and name of each row, sorted."""
    places = trace.rows(*categories)
    (session,) = query(FOLDER.parent / trace.path, "SELECT utcEpochNs FROM TARGET_INFO_SESSION_START_TIME")
    shift = trace.epoch_ns - session[0]
    times = ((trace.columns[name][places] + shift).tolist() for name in ("start", "end"))
    lanes = (trace.columns[name][places].tolist() for name in ("device", "stream"))
    names = (trace.strings[number] for number in trace.columns["name"][places].tolist())
    return sorted(zip(*times, *lanes, names, strict=True))


def query(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as database:
        return database.execute(statement).fetchall()


@pytest.mark.parametrize(
    ("file", "sum_ms", "unions_ms"),
    [("mfu_2gpu_before", 535.2007, (270.863, 264.325)), ("mfu_2gpu_after", 488.8354, (237.473, 251.362))],
)
def test_kernel_sums_and_unions_of_two_gpus(file: str, sum_ms: float, unions_ms: tuple[float, ...]) -> None:
    lines = attribution(f"nsys/nsys-ai/{file}.sqlite", "device-span").timelines
    assert [line.device for line in lines] == [0, 1]
    assert sum(line.kernel_sum_ns for line in lines) / 1e6 == pytest.approx(sum_ms, abs=0.000_051)
    assert tuple(round(line.kernel_union_ns / 1e6, 3) for line in lines) == unions_ms


def test_cloverleaf_is_its_csv_row_by_row() -> None:
    with (FOLDER / "pipit" / "cloverleaf_gpu_trace.csv").open(encoding="utf-8") as table:
        entered = [row for row in csv.DictReader(table) if row["Event Type"] == "Enter"]
    listed: dict[str, list[tuple[Any, ...]]] = {"kernel": [], "copy": []}
    for row in entered:
        times = int(row["Timestamp (ns)"]), int(float(row["_matching_timestamp"]))
        kind = "kernel" if row["type"] == "kernel" else "copy"
        listed[kind].append((*times, int(row["streamId"]), row["Name"]))
    assert {kind: len(found) for kind, found in listed.items()} == {"kernel": 1312, "copy": 279}
    trace = load(CLOVERLEAF)
    for kind, category in (("kernel", Category.KERNEL), ("copy", Category.MEMCPY)):
        found = [(start, end, stream, name) for start, end, _, stream, name in rows(trace, category)]
        for (*ours_at, ours), (*theirs_at, theirs) in zip(sorted(found), sorted(listed[kind]), strict=True):
            assert ours_at == theirs_at
            assert COPY_KINDS.get(theirs, theirs) in ours


def test_a_twin_in_json_says_the_same_of_the_kernels() -> None:
    """The twin has kernels alone, and nothing in it says which call launched one."""
    spans = query(FOLDER.parent / POWER_ITERATION, "SELECT start, end FROM CUPTI_ACTIVITY_KIND_KERNEL ORDER BY start")
    (ours,), (twin,) = (
        attribution(POWER_ITERATION.replace(".sqlite", suffix), "device-span").timelines
        for suffix in (".sqlite", ".json")
    )
    assert load(POWER_ITERATION.replace(".sqlite", ".json")).format == "nsight-systems-json"
    busy = sum(end - start for start, end in spans)  # none overlap
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    assert len(spans) == twin.activities == ours.activities - 89 == 3689
    assert twin.busy["compute"] == ours.busy["compute"] == busy
    assert dict(twin.idle) == {"unattributed_no_launch": spans[-1][1] - spans[0][0] - busy}
    tables = [
        sorted((kernel.calls, kernel.device_ns, kernel.max_ns) for kernel in found.kernels)
        for found in (attribution(POWER_ITERATION.replace(".sqlite", s), "device-span") for s in (".sqlite", ".json"))
    ]
    assert tables[0] == tables[1]
    found = attribution(POWER_ITERATION.replace(".sqlite", ".json"), "device-span")
    assert {defect.kind: defect.count for defect in found.defects} == {"activities_without_launch": 3689}
    assert load(POWER_ITERATION.replace(".sqlite", ".json")).defects == ()


def test_an_export_without_kernels_gets_an_answer() -> None:
    done = run("diagnose", TRACES / NO_KERNELS)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert "No activity of a GPU was recorded" in " ".join(done.stdout.decode().split())


def test_what_the_profiler_says_of_itself_is_repeated() -> None:
    found = {defect.kind: defect.message for defect in load(POWER_ITERATION).defects}
    assert "Not all CUDA events might have been collected." in found["profiler_diagnostic"]


def state(folder: Path) -> dict[str, tuple[str, int]]:
    """Name, content and time of change of whatever is in a folder."""
    return {
        path.relative_to(folder).as_posix(): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_files_and_folders_stay_as_they_are(tmp_path: Path) -> None:
    """A folder that can be written to is left without journals, indexes or anything else beside the files."""
    for file in FILES:
        shutil.copy(TRACES / file, tmp_path)
    before = state(tmp_path)
    assert len(before) == len(FILES)
    for name in before:
        perfkit.diagnose(tmp_path / name)
    assert state(tmp_path) == before
    written = sqlite3.connect(tmp_path / "report1.sqlite")  # one whose writer still holds it
    with closing(written):
        written.execute("BEGIN EXCLUSIVE")
        perfkit.diagnose(tmp_path / "report1.sqlite")
        written.rollback()
    assert state(tmp_path) == before
