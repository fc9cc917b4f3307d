"""Folders of ranks, from the files to the diagnosis: simulated jobs, whose slow rank is known."""

from __future__ import annotations

import functools
import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import perfkit
from perfkit.model.picture import KINDS
from perfkit.pipeline import fleet as pipeline
from perfkit.pipeline.fleet import Means
from tests.simulator import ranks
from tests.unit.cli.command_line import fail, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.model.diagnosis import Diagnosis
    from perfkit.model.fleet import Fleet

JOB = ranks.Job(ranks=8, steps=4, slow=(ranks.Slow(5, "data_loading", 900_000),), clocks=tuple(range(0, 8000, 1000)))


@functools.cache
def recorded() -> ranks.Recorded:
    return ranks.run(JOB)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    recorded().write(folder, ("kineto", "nsight"))
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The traces of a job in which rank 5 waits for data, in a folder of this test's own."""
    monkeypatch.setenv("PERFKIT_CACHE_DIR", str(tmp_path / "cache"))
    return Path(shutil.copytree(written, tmp_path / "ranks"))


def fleet_of(diagnosis: Diagnosis) -> Fleet:
    assert diagnosis.fleet is not None
    return diagnosis.fleet


def test_ranks_are_drawn_on_one_clock_with_what_they_wait_for(tmp_path: Path) -> None:
    recorded().write(tmp_path)
    picture = perfkit.diagnose(tmp_path, picture=True, means=Means(cache=False)).picture
    assert picture is not None
    assert [track.label for track in picture.tracks] == [f"rank {rank}" for rank in range(8)]
    waited = [track.kind == KINDS.index("waiting_for_ranks") for track in picture.tracks]
    total = [int((track.end - track.start)[mask].sum()) for track, mask in zip(picture.tracks, waited, strict=True)]
    assert total[5] < min(total[:5] + total[6:]) / 10
    # Everybody moves data at the same time, whatever their clocks said.
    moving = [track.end[track.kind == KINDS.index("communication")] for track in picture.tracks]
    assert all(abs(ends - moving[0]).max() < 5_000 for ends in moving[1:])


def test_the_slow_rank_is_the_first_finding(folder: Path) -> None:
    diagnosis = perfkit.diagnose(folder)
    fleet = fleet_of(diagnosis)
    assert fleet.straggler is not None
    assert (fleet.straggler.rank, fleet.straggler.bucket) == (5, "data_loading")
    late = next(finding for finding in diagnosis.advice.findings if finding.rule == "PK602")
    assert late.where == "rank 5"
    assert late.evidence[0].startswith("Rank 5 arrives ")
    assert "loader" in late.fix
    assert diagnosis.trace.path == str(folder)
    assert diagnosis.trace.format == "nsight-systems, torch-profiler"


def test_every_rank_keeps_its_own_time_to_the_nanosecond(folder: Path) -> None:
    diagnosis = perfkit.diagnose(folder)
    lines = diagnosis.attribution.timelines
    assert [line.rank for line in lines] == list(range(8))
    assert len({line.id for line in lines}) == 8
    for line in lines:
        alone = perfkit.diagnose(folder, rank=line.rank).attribution.timelines[0]
        assert (line.busy, line.idle, line.window_ns) == (alone.busy, alone.idle, alone.window_ns)
        assert line.busy_ns + line.idle_ns == line.window_ns
    for row in fleet_of(diagnosis).ranks:
        exposed = row.exposed_wait_ns + row.exposed_transfer_ns + row.exposed_unknown_ns
        assert exposed == row.busy["exposed_communication"]
        assert sum(row.busy.values()) + sum(row.idle.values()) == row.window_ns


def test_times_of_ranks_are_on_one_clock(folder: Path) -> None:
    """All ranks end a step in the same collective: with their own clocks they would be 1 us a rank apart."""
    ends = [line.end_ns for line in perfkit.diagnose(folder, window="device-span").attribution.timelines]
    assert max(ends) - min(ends) < 200_000


def test_tables_are_the_sums_of_those_of_the_ranks(folder: Path) -> None:
    whole = perfkit.diagnose(folder).attribution
    alone = [perfkit.diagnose(folder, rank=rank).attribution for rank in range(8)]
    for name in ("operators", "kernels", "copies", "collectives"):
        rows = [row for one in alone for row in getattr(one, name)]
        assert rows
        for number in ("calls", "device_ns"):
            assert sum(getattr(row, number) for row in getattr(whole, name)) == sum(
                getattr(row, number) for row in rows
            )
    longest = [
        max(kernel.max_ns for one in alone for kernel in one.kernels if kernel.name == k.name) for k in whole.kernels
    ]
    assert [kernel.max_ns for kernel in whole.kernels] == longest
    assert sum(row.ns for row in whole.blame) == sum(row.ns for one in alone for row in one.blame)


def test_waiting_for_a_rank_is_no_slow_communication(folder: Path) -> None:
    diagnosis = perfkit.diagnose(folder)
    (found,) = [finding for finding in diagnosis.advice.findings if finding.rule == "PK601"]
    assert found.saving_ns == max(row.exposed_transfer_ns for row in fleet_of(diagnosis).ranks)


@pytest.mark.parametrize("means", [Means(jobs=1), Means(jobs=3), Means(cache=False)])
def test_with_whatever_it_is_read_the_answer_is_the_same(folder: Path, means: Means) -> None:
    assert perfkit.diagnose(folder, means=means) == perfkit.diagnose(folder, means=Means(cache=False, jobs=1))


def test_on_a_ray_of_this_machine(folder: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    (folder / "rank0003.sqlite").write_bytes(b"SQLite format 3\0" + bytes(3000))
    diagnosis = perfkit.diagnose(folder, means=Means(ray="local", jobs=2, cache=False))
    assert diagnosis == perfkit.diagnose(folder, means=Means(jobs=1, cache=False))
    assert [(failure.rank, Path(failure.path).name) for failure in fleet_of(diagnosis).failed] == [
        (3, "rank0003.sqlite")
    ]


@pytest.mark.parametrize("means", [Means(jobs=1), Means(jobs=2)])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rank0003.sqlite", b"SQLite format 3\0" + bytes(3000)),
        ("rank0002.json", b'{"traceEvents": 5}'),
        ("rank0002.json", b""),
        ("rank0002.json", b"\x00\x01garbage"),
    ],
)
def test_one_corrupt_rank_of_eight_does_not_stop_the_rest(
    folder: Path, name: str, content: bytes, means: Means
) -> None:
    (folder / name).write_bytes(content)
    broken = int(name[4:8])
    fleet = fleet_of(perfkit.diagnose(folder, means=means))
    assert [row.rank for row in fleet.ranks] == [rank for rank in range(8) if rank != broken]
    assert [failure.rank for failure in fleet.failed] == [broken]
    assert str(folder / name) in fleet.failed[0].message
    assert fleet.missing == (broken,)
    assert fleet.straggler is not None
    assert fleet.straggler.rank == 5


def kill_on_rank_2(task: Any) -> Any:
    if task.rank == 2:
        os.kill(os.getpid(), 9)
    return pipeline.summarise(task)


def test_a_process_that_is_killed_takes_only_its_rank_with_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from perfkit.distribute import pool

    real = pool.in_processes

    def killing(_: Any, tasks: Sequence[Any], jobs: int) -> Any:
        return real(kill_on_rank_2, tasks, jobs)

    monkeypatch.setattr(pool, "in_processes", killing)
    fleet = fleet_of(perfkit.diagnose(folder, means=Means(jobs=2, cache=False)))
    assert [failure.rank for failure in fleet.failed] == [2]
    assert "died" in fleet.failed[0].message
    assert len(fleet.ranks) == 7


def test_finished_summaries_are_used_again_and_changed_files_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = perfkit.diagnose(folder)
    read: list[str] = []
    load = perfkit.load

    def noted(path: str, **options: Any) -> Any:
        read.append(Path(path).name)
        return load(path, **options)

    monkeypatch.setattr(pipeline, "load", noted)
    assert perfkit.diagnose(folder, means=Means(jobs=1)) == first
    assert read == []
    changed = folder / "rank0004.json"
    os.utime(changed, ns=(time.time_ns(), time.time_ns()))
    assert perfkit.diagnose(folder, means=Means(jobs=1)) == first
    assert read == ["rank0004.json"]
    read.clear()
    perfkit.diagnose(folder, window="device-span", means=Means(jobs=1))
    assert len(read) == 8
    read.clear()
    perfkit.diagnose(folder, means=Means(jobs=1, cache=False))
    assert len(read) == 8


def test_a_folder_for_summaries_that_cannot_be_written_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = perfkit.diagnose(folder, means=Means(cache=False))
    monkeypatch.setenv("PERFKIT_CACHE_DIR", str(folder / "rank0000.json" / "cache"))
    assert perfkit.diagnose(folder) == expected


def test_ranks_behind_urls(folder: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
    memory = fsspec.filesystem("memory")
    for path in folder.iterdir():
        memory.pipe(f"/job/{path.name}", path.read_bytes())
    try:
        there = perfkit.diagnose("memory://job", means=Means(jobs=1))
    finally:
        memory.rm("/job", recursive=True)
    here = perfkit.diagnose(folder)
    assert there.advice == here.advice
    assert fleet_of(there).straggler == fleet_of(here).straggler
    local = perfkit.diagnose(f"file://{folder}", means=Means(jobs=2))
    assert fleet_of(local).straggler == fleet_of(here).straggler


def test_missing_and_duplicate_ranks_are_named(folder: Path) -> None:
    shutil.copyfile(folder / "rank0004.json", folder / "again-rank0004.json")
    (folder / "rank0007.sqlite").unlink()
    fleet = fleet_of(perfkit.diagnose(folder))
    assert fleet.missing == (7,)
    assert [(twice.rank, len(twice.left_out)) for twice in fleet.duplicates] == [(4, 1)]


def test_files_one_by_one_are_what_their_folder_is(folder: Path) -> None:
    listed = perfkit.diagnose(sorted(folder.iterdir()))
    assert listed.advice == perfkit.diagnose(folder).advice
    assert perfkit.diagnose([folder / "rank0004.json"]).fleet is None
    assert perfkit.diagnose([folder / "rank0004.json"]) == perfkit.diagnose(folder, rank=4)


def test_a_folder_of_nothing_that_can_be_read(tmp_path: Path) -> None:
    for name in ("rank0.json", "rank1.json"):
        (tmp_path / name).write_text('{"traceEvents": 5}')
    with pytest.raises(perfkit.UnreadableTraceError, match=r"none of the 2 traces at .* can be read; the first: "):
        perfkit.diagnose(tmp_path, means=Means(cache=False))


def test_progress_is_told_rank_by_rank(folder: Path) -> None:
    told: list[tuple[int, int | None]] = []
    perfkit.diagnose(folder, means=Means(cache=False), progress=lambda done, total: told.append((done, total)))
    total = sum(path.stat().st_size for path in folder.iterdir())
    assert len(told) == 8
    assert told[-1] == (total, total)


@pytest.mark.parametrize("form", ["text", "markdown", "json"])
def test_the_command_line_names_the_rank(folder: Path, form: str) -> None:
    done = run("diagnose", folder, "--format", form, "--jobs", "2", PERFKIT_CACHE_DIR=str(folder.parent / "cache"))
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    if form == "json":
        document = json.loads(text)
        assert document["fleet"]["straggler"]["rank"] == 5
        assert [line["rank"] for line in document["timelines"]] == list(range(8))
    else:
        assert "rank 5" in text.lower()
        assert "Collectives" in text or "| Collective |" in text


def test_options_that_do_not_go_together(folder: Path) -> None:
    assert "standard input holds one trace" in fail("diagnose", "-", folder)
    assert "no trace of rank 99" in fail("diagnose", folder, "--rank", "99")
    assert "no Ray cluster answers" in fail("diagnose", folder, "--ray=127.0.0.1:1", "--no-cache")
