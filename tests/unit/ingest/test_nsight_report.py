"""Reports of Nsight Systems, exported by an ``nsys`` of the test's own."""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from perfkit import ingest
from perfkit.errors import UnknownFormatError, UnreadableTraceError
from perfkit.ingest import nsight_report
from tests.integration.forms import cuda_run
from tests.simulator import nsight
from tests.unit.cli.command_line import fail

if TYPE_CHECKING:
    from perfkit.model.trace import Trace

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the nsys of the test is a script with a first line of #!")

REPORT = b"\x07\x01\x99\xf0, not a report, but what perfkit cannot tell from one\n" * 100

EXPORTS = """
if sys.argv[1:5] != ["export", "--type", "sqlite", "--output"] or len(sys.argv) != 7:
    sys.exit("usage: " + repr(sys.argv))
if open(sys.argv[6], "rb").read() != {report!r}:
    sys.exit("not the report")
shutil.copyfile({export!r}, sys.argv[5])
"""


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of a recorded run."""
    path = tmp_path_factory.mktemp("export") / "run.sqlite"
    nsight.write(cuda_run(3), path)
    return path


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A report in a folder that may not change."""
    path = tmp_path / "of the user" / "run.nsys-rep"
    path.parent.mkdir()
    path.write_bytes(REPORT)
    return path


@pytest.fixture(autouse=True)
def _no_nsys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None in PATH and none installed, and temporary files where they can be looked at."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(nsight_report, "_PLACES", (f"{tmp_path}/opt/nsight-systems*/*/bin/nsys",))


def install(path: Path, code: str) -> Path:
    """Install an ``nsys`` that runs this."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable} -S\nimport os, shutil, sys, time\n{code}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def texts(trace: Trace) -> list[str]:
    return [trace.strings[index] for index in range(len(trace.strings))]


def exporting(tmp_path: Path, export: Path) -> Path:
    return install(tmp_path / "bin" / "nsys", EXPORTS.format(report=REPORT, export=str(export)))


def test_a_report_is_what_its_export_is(tmp_path: Path, report: Path, export: Path) -> None:
    exporting(tmp_path, export)
    read, expected = ingest.load(report), ingest.load(export)
    assert read.path == str(report)
    assert texts(read) == texts(expected)
    for name in ("format", "epoch_ns", "clock", "threads", "devices", "rank", "world_size", "defects", "header"):
        assert getattr(read, name) == getattr(expected, name), name
    for name, column in expected.columns.items():
        np.testing.assert_array_equal(read.columns[name], column)


def test_nothing_is_left_behind(tmp_path: Path, report: Path, export: Path) -> None:
    exporting(tmp_path, export)
    ingest.load(report)
    assert [path.name for path in report.parent.iterdir()] == [report.name]
    assert report.read_bytes() == REPORT
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_name_like_an_option_and_a_compressed_one(
    tmp_path: Path, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporting(tmp_path, export)
    monkeypatch.chdir(tmp_path)
    Path("--help.nsys-rep").write_bytes(REPORT)
    Path("packed.nsys-rep.gz").write_bytes(gzip.compress(REPORT))
    assert len(ingest.load("--help.nsys-rep")) == len(ingest.load("packed.nsys-rep.gz")) == len(ingest.load(export))


def test_a_stream_with_the_name_of_a_report(tmp_path: Path, export: Path) -> None:
    exporting(tmp_path, export)
    stream = io.BytesIO(REPORT)
    stream.name = "run.qdrep"
    assert len(ingest.load(stream)) == len(ingest.load(export))


def test_without_nsys_the_message_says_what_to_run(report: Path) -> None:
    command = "`nsys export --type sqlite --output run.sqlite run.nsys-rep`"
    with pytest.raises(UnreadableTraceError, match=re.escape(command)) as raised:
        ingest.load(report)
    assert str(report) in str(raised.value)


def test_without_nsys_an_export_beside_it_is_named(report: Path, export: Path) -> None:
    shutil.copyfile(export, report.with_suffix(".sqlite"))
    with pytest.raises(UnreadableTraceError, match=re.escape(f"give {report.with_suffix('.sqlite')} instead")):
        ingest.load(report)


def test_a_report_beside_its_export_is_one_trace(report: Path, export: Path) -> None:
    exported = report.with_suffix(".sqlite")
    shutil.copyfile(export, exported)
    assert [trace.path for trace in ingest.find(report.parent)] == [str(exported)]
    assert [trace.path for trace in ingest.find(report)] == [str(report)]


def test_the_command_line_ends_with_one_line_and_status_2(report: Path) -> None:
    assert "nsys export" in fail("diagnose", report)


def test_an_installed_nsys_is_found_and_the_newest_taken(tmp_path: Path) -> None:
    assert nsight_report.find_nsys() is None
    for version in ("2024.6.1", "2025.10.1", "2025.2.1"):
        install(tmp_path / "opt" / "nsight-systems" / version / "bin" / "nsys", "")
    (tmp_path / "opt" / "nsight-systems" / "2026.1.1" / "bin" / "nsys").mkdir(parents=True)
    assert nsight_report.find_nsys() == str(tmp_path / "opt/nsight-systems/2025.10.1/bin/nsys")
    on_path = install(tmp_path / "bin" / "nsys", "")
    assert nsight_report.find_nsys() == str(on_path)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "print('Processing'); print('Error: version 9 is too new\\nmore'); sys.exit(3)",
            "status 3 and says: Error: v",
        ),
        ("sys.exit(1)", "status 1. "),
        ("print('done')", "status 0 and says: done"),
        ("print('\\x1b[31mred\\x1b[0m'); sys.exit(1)", r"\x1b[31mred"),
        ("os.abort()", "status -6"),
    ],
)
def test_an_export_that_fails(tmp_path: Path, report: Path, code: str, said: str) -> None:
    install(tmp_path / "bin" / "nsys", code)
    with pytest.raises(UnreadableTraceError, match=re.escape(said)) as raised:
        ingest.load(report)
    assert str(raised.value).isprintable()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_an_nsys_that_does_not_start(tmp_path: Path, report: Path) -> None:
    install(tmp_path / "bin" / "nsys", "").write_text("#!/nowhere\n")
    with pytest.raises(UnreadableTraceError, match="does not start"):
        ingest.load(report)


def test_an_interrupted_export_ends(tmp_path: Path, report: Path) -> None:
    name = tmp_path / "process"
    code = f"open({str(name)!r}, 'w').write(str(os.getpid())); open(sys.argv[5], 'w').write('x'); time.sleep(60)"
    install(tmp_path / "bin" / "nsys", code)

    def interrupt(_done: int, _total: int | None) -> None:
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ingest.load(report, progress=interrupt)
    assert time.monotonic() - began < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int(name.read_text()), 0)
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n", "git-LFS pointer"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (bytes(5000), "nothing but zero bytes"),
        ("für später".encode(), "is not a trace"),
    ],
)
def test_what_only_bears_the_name(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "run.nsys-rep"
    path.write_bytes(content)
    with pytest.raises(UnknownFormatError, match=what):
        ingest.load(path)


@pytest.mark.skipif(shutil.which("nsys") is None, reason="needs nsys of Nsight Systems in PATH")
def test_a_real_nsys_makes_an_export_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    report = tmp_path / "run.nsys-rep"
    subprocess.run(["nsys", "profile", "-o", str(report), sys.executable, "-c", "pass"], check=True)
    assert ingest.load(report).format == "nsight-systems"
