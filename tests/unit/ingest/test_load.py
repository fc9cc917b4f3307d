"""Where a trace comes from: files, compression, standard input, folders, and files that are no traces."""

from __future__ import annotations

import gzip
import io
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from perfkit import ingest
from perfkit.errors import PerfkitError, UnknownFormatError, UnreadableTraceError, UsageError
from perfkit.ingest.source import CHUNK_BYTES, Source, ahead
from tests.unit.ingest.hand_written import defects, document, event, kernel, load, names

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("scanner")

ROWS = 12_000


@pytest.fixture(scope="module")
def text() -> bytes:
    """A trace of about 1.5 MB, more than a chunk, that does not compress well."""
    numbers = random.Random(1)
    return document(
        *(event(f"aten::op_{numbers.getrandbits(64):x}", args={"sequence": i}, ts=i * 10) for i in range(ROWS))
    )


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda text: text,
    "gzip": gzip.compress,
    "gzip in members": lambda text: b"".join(gzip.compress(part) for part in (text[:7], text[7:90_000], text[90_000:])),
    "gzip padded with zeros": lambda text: gzip.compress(text) + bytes(1000),
    "zstd": zstd.compress,
    "zstd in frames": lambda text: zstd.compress(text[:90_000]) + zstd.compress(text[90_000:]),
    "zstd after a skippable frame": lambda text: b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + zstd.compress(text),
}


@pytest.fixture(params=["isal", "zlib"])
def _gzip_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read gzip by the library of our choice, and where that is not installed."""
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)


@pytest.mark.usefixtures("_gzip_library")
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_compression_is_told_by_content(compression: str, text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_bytes(COMPRESSIONS[compression](text))
    trace = ingest.load(path)
    assert len(trace) == ROWS
    assert trace.defects == ()
    assert trace.path == str(path)


@pytest.mark.usefixtures("_gzip_library")
@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_compression_gives_what_there_is(pack: Any, share: float, text: bytes) -> None:
    packed = pack(text)
    trace = load(packed[: int(len(packed) * share)])
    found = defects(trace)
    assert share - 0.1 < len(trace) / ROWS <= 1
    assert (
        found["truncated_compression"][1] == found["truncated"][1] if share < 0.99 else "truncated_compression" in found
    )
    assert 0 < found["truncated_compression"][1] <= len(text)


@pytest.mark.usefixtures("_gzip_library")
@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_corrupt_compression_gives_what_comes_before(pack: Any, text: bytes) -> None:
    packed = bytearray(pack(text))
    middle = len(packed) // 2
    packed[middle : middle + 200] = bytes(200)
    trace = load(bytes(packed))
    assert "corrupt_compression" in defects(trace)
    assert 0.3 < len(trace) / ROWS < 0.8


@pytest.mark.usefixtures("_gzip_library")
def test_a_wrong_checksum_is_a_defect(text: bytes) -> None:
    packed = bytearray(gzip.compress(text))
    packed[-6] ^= 1
    trace = load(bytes(packed))
    assert "corrupt_compression" in defects(trace)
    assert ROWS * 0.99 < len(trace) <= ROWS


@pytest.mark.usefixtures("_gzip_library")
@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
@pytest.mark.parametrize("tail", [b"garbage at the end", b"ab"])
def test_garbage_after_compressed_data(pack: Any, tail: bytes, text: bytes) -> None:
    trace = load(pack(text) + tail)
    assert len(trace) == ROWS
    assert defects(trace) == {"trailing_garbage": (1, len(text))}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x1f\x8b",
        gzip.compress(b"", mtime=0),
        gzip.compress(b"x" * 100, mtime=0)[:9],
        zstd.compress(b"")[:6],
        b"\x1f\x8bnot at all gzip, but it begins like it",
        b'{"schemaVersion": 1, "trace',
        b'{"traceEvents": [',
        b'[{"ph": "X", "name": "a',
        gzip.compress(b'{"traceEvents": [{"ph": "X", "name": "a' * 9, mtime=0)[:-12],
    ],
)
def test_nothing_to_read(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_bytes(content)
    with pytest.raises((UnreadableTraceError, UnknownFormatError), match=r"trace\.json \S+ [^\n]*\Z"):
        ingest.load(path)


def pickle_of_a_call() -> bytes:
    return b"\x80\x04\x95\x1d\0\0\0\0\0\0\0\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R."


def zip_of_a_checkpoint() -> bytes:
    return b"PK\x03\x04\0\0\0\0" + bytes(18) + b"\x10\0archive/data.pkl" + bytes(100)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "git lfs pull"),
        (zip_of_a_checkpoint(), "checkpoint"),
        (b"PK\x03\x04" + bytes(100), "zip"),
        (pickle_of_a_call(), "never loads"),
        (b"  \n<!DOCTYPE html><html>", "HTML"),
        (b'"ID","Name","Time"\n1,"a",3\n', "CSV"),
        (b"Time,Total,Name\n", "CSV"),
        (b"\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22\x09\0\0\xc0\x3d\x7d\x4d\xd7\x41\x1a\x0dbrain.Event:2", "TensorBoard"),
        (b'\xff\xfe{\0"\0', "UTF-16"),
        (b"==PROF== Connected to process 3\n", "Nsight Compute"),
        (b"BZh91AY&SY", "bunzip2"),
        (bytes(5000), "zero bytes"),
        (b"step 1 took 3 ms\n", "text that is not JSON"),
        (b"\x07\x01\x99\xf0", "text or data of an unknown kind"),
        (b'{"a": 1, "b": [{"ph": "X", "ts": 1}]}', "its keys are 'a', 'b'"),
        (b'{"schema": "1.1.1-chakra.0.0.4", "nodes": []}', "execution trace"),
        (b"{}", "an empty JSON object"),
        (b"{not json}", "an empty JSON object, or something else in braces"),
        (b'{"traceEvents": {}}', "is not a list"),
        (b"[1, 2, 3]", "not trace events"),
        (b'[{"bytes": 1, "path": "x"}]', "not trace events"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_files_that_are_no_traces(content: bytes, says: str, pack: Any, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_bytes(pack(content))
    with pytest.raises(UnknownFormatError) as caught:
        ingest.load(path)
    message = str(caught.value)
    assert says in message
    assert message.startswith(str(path))
    assert "PyTorch Profiler" in message
    assert message.isprintable()


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_database_of_which_nothing_can_be_read(pack: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.sqlite"
    path.write_bytes(pack(b"SQLite format 3\0" + bytes(100)))
    with pytest.raises(UnreadableTraceError, match=rf"\A{re.escape(str(path))} cannot be read as an SQLite database"):
        ingest.load(path)


def test_a_trace_that_is_compressed_twice() -> None:
    with pytest.raises(UnknownFormatError, match="compressed twice"):
        load(gzip.compress(gzip.compress(document(event()))))


def test_white_space_and_byte_order_mark_before_the_trace() -> None:
    assert len(load(b"\xef\xbb\xbf" + b"\n " * 3000 + document(event()))) == 1


def test_paths_that_cannot_be_opened(tmp_path: Path) -> None:
    paths = [str(tmp_path / "absent.json"), "nul\0byte", str(tmp_path / ("long" * 200)), ""]
    for path in paths:
        with pytest.raises(UnreadableTraceError, match="cannot be opened"):
            ingest.load(path)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no sockets in its file system")
def test_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(UnreadableTraceError, match="cannot be opened"):
            ingest.load("socket")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_bytes(document(event()))
    path.chmod(0)
    with pytest.raises(UnreadableTraceError, match="Permission denied"):
        ingest.load(path)


# -------------------------------------------------------------------------------------------------- streams


class Dribble(io.RawIOBase):
    """Gives a few bytes at a time, as a slow pipe does."""

    def __init__(self, content: bytes) -> None:
        self._rest = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self._rest.read(min(size, 3))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress])
def test_file_object_that_gives_a_few_bytes_at_a_time(pack: Any) -> None:
    trace = ingest.load(Dribble(pack(document(event(), kernel()))))  # type: ignore[arg-type]
    assert names(trace) == ["aten::add", "gemm"]


def test_a_file_object_stays_open() -> None:
    stream = io.BytesIO(document(event()))
    ingest.load(stream)
    assert not stream.closed


def test_a_text_file_object_is_refused() -> None:
    with pytest.raises(TypeError, match="binary mode"):
        ingest.load(io.StringIO("[]"))  # type: ignore[arg-type]


def test_a_disk_that_fails() -> None:
    class Failing(io.RawIOBase):
        reads = 0

        def read(self, size: int = -1) -> bytes:
            self.reads += 1
            if self.reads > 2:
                raise OSError(5, "Input/output error")
            return document(event())[:-2] + b" " * 1000

    with pytest.raises(UnreadableTraceError, match=r"past byte 2,\d+: Input/output error"):
        ingest.load(Failing())  # type: ignore[arg-type]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress])
def test_standard_input(pack: Any) -> None:
    code = "import perfkit.ingest; trace = perfkit.ingest.load('-'); print(trace.path, len(trace), trace.rank)"
    done = subprocess.run([sys.executable, "-c", code], input=pack(document(event())), capture_output=True, check=True)
    assert done.stdout.split() == [b"standard", b"input", b"1", b"None"]
    assert done.stderr == b""


def test_an_open_pipe_does_not_keep_the_interpreter_alive() -> None:
    code = "import perfkit.ingest; perfkit.ingest.load('-')"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"not a trace" + bytes(CHUNK_BYTES - 11))  # as much as is read before the answer
        process.stdin.flush()
        stderr = process.stderr.read()
        assert process.wait(300) == 1
    assert b"UnknownFormatError" in stderr
    assert b"Fatal" not in stderr


# -------------------------------------------------------------------------------------------------- threads


def count_threads() -> int:
    return sum(thread.name == "perfkit-decompress" for thread in threading.enumerate())


def wait_for_no_threads() -> None:
    deadline = time.monotonic() + 120
    while count_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert count_threads() == 0


def test_an_abandoned_reader_leaves_no_thread() -> None:
    source = Source(io.BytesIO(gzip.compress(bytes(100 << 20), 1)), "zeros", None)
    chunks = ahead(source.chunks())
    assert len(next(chunks)) >= CHUNK_BYTES
    assert count_threads() == 1
    chunks.close()
    wait_for_no_threads()


def test_reading_ahead_is_bounded() -> None:
    made = []

    def endless() -> Iterator[bytes]:
        while True:
            made.append(1)
            yield b"x"

    chunks = ahead(endless())
    next(chunks)
    time.sleep(0.05)
    assert len(made) < 20
    chunks.close()
    wait_for_no_threads()


def test_an_exception_of_the_thread_reaches_the_reader() -> None:
    def failing() -> Iterator[bytes]:
        yield b"x"
        raise ZeroDivisionError

    chunks = ahead(failing())
    assert next(chunks) == b"x"
    with pytest.raises(ZeroDivisionError):
        next(chunks)
    wait_for_no_threads()


def test_an_error_leaves_no_thread(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_bytes(b"\x07" * (20 << 20))
    with pytest.raises(UnknownFormatError):
        ingest.load(path)
    wait_for_no_threads()


def test_progress(text: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfkit.ingest.source._PROGRESS_S", 0.0)
    path = tmp_path / "trace.json.gz"
    path.write_bytes(gzip.compress(text))
    calls: list[tuple[int, int | None]] = []
    ingest.load(path, progress=lambda done, total: calls.append((done, total)))
    assert calls == sorted(calls)
    assert {total for _, total in calls} == {path.stat().st_size}
    assert calls[-1][0] <= path.stat().st_size
    calls.clear()
    ingest.load(io.BytesIO(text), progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (len(text), None)


# -------------------------------------------------------------------------------------------------- folders


def write(path: Path, *events: Any, **header: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pack = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix, "plain")
    path.write_bytes(COMPRESSIONS[pack](document(*events, **header)))


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A folder with four ranks, told in three ways, and things that are no traces."""
    write(tmp_path / "a.json", event("two"), distributedInfo={"rank": 2})
    write(tmp_path / "deep" / "er" / "b.json.gz", event("ten"), distributedInfo={"backend": "nccl", "rank": 10})
    write(tmp_path / "worker0.123.pt.trace.json.zst", event("zero"))
    write(tmp_path / "c.json", event("three", args={"x": "y" * 70_000}))
    end = (tmp_path / "c.json").read_bytes()[:-1] + b', "distributedInfo": {"rank": 3, "world_size": 11}}'
    (tmp_path / "c.json").write_bytes(end)
    (tmp_path / "config.json").write_text('{"lr": 3}')
    (tmp_path / "empty.json").touch()
    (tmp_path / "notes.txt").write_text("rank 5")
    write(tmp_path / ".hidden" / "rank1.json", event("hidden"))
    write(tmp_path / "1" / "2" / "3" / "4" / "rank1.json", event("too deep"))
    return tmp_path


def test_find_lists_traces_by_rank(job: Path) -> None:
    found = [(os.path.relpath(trace.path, job).replace(os.sep, "/"), trace.rank) for trace in ingest.find(job)]
    assert found == [("worker0.123.pt.trace.json.zst", 0), ("a.json", 2), ("c.json", 3), ("deep/er/b.json.gz", 10)]
    size = (job / "a.json").stat().st_size
    assert ingest.find(job / "a.json") == [ingest.Found(str(job / "a.json"), 2, size_bytes=size)]


@pytest.mark.parametrize(("rank", "name"), [(None, "zero"), (0, "zero"), (2, "two"), (3, "three"), (10, "ten")])
def test_load_chooses_by_rank(rank: int | None, name: str, job: Path) -> None:
    trace = ingest.load(job, rank=rank)
    assert names(trace) == [name]
    assert trace.rank == (rank or 0)


def test_a_rank_that_is_not_there(job: Path) -> None:
    with pytest.raises(UsageError, match="no trace of rank 7: there are ranks 0, 2, 3, 10"):
        ingest.load(job, rank=7)
    with pytest.raises(UsageError, match="is of rank 2, not 7"):
        ingest.load(job / "a.json", rank=7)
    with pytest.raises(UsageError, match="does not say its rank, not 7"):
        load(document(event()), rank=7)
    assert ingest.load(job / "a.json", rank=2).rank == 2


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("rank-34.Jul_15.pt.trace.json.gz", 34),
        ("trace_rank_7.json", 7),
        ("RANK3.json", 3),
        ("worker5_step_12.1694128201549.pt.trace.json", 5),
        ("host_worker12.json", 12),
        ("rank_non_gpu.json", None),
        ("frank3.json", None),
        ("worker123456789.json", None),
        ("trace.json", None),
    ],
)
def test_rank_from_the_name(name: str, rank: int | None, tmp_path: Path) -> None:
    write(tmp_path / name, event())
    assert ingest.load(tmp_path / name).rank == rank
    assert ingest.find(tmp_path)[0].rank == rank


def test_the_header_wins_over_the_name(tmp_path: Path) -> None:
    write(tmp_path / "rank3.json", event(), distributedInfo={"rank": 4})
    assert ingest.load(tmp_path / "rank3.json").rank == 4
    assert ingest.find(tmp_path)[0].rank == 4


def test_a_folder_without_traces(tmp_path: Path) -> None:
    with pytest.raises(UnknownFormatError, match="holds no trace"):
        ingest.load(tmp_path)
    (tmp_path / "model.pt").write_bytes(zip_of_a_checkpoint())
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UnknownFormatError, match="2 files looked at"):
        ingest.find(tmp_path)


@pytest.mark.parametrize("choice", ["fast", "Native"])
def test_a_scanner_that_does_not_exist(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFKIT_SCANNER", choice)
    with pytest.raises(UsageError, match="native or python"):
        load(document(event()))


def test_random_bytes_end_in_a_trace_or_one_line() -> None:
    numbers = random.Random(2)
    heads = [b"", b"{", b"[", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", b'{"traceEvents": [', document(event())[:-2]]
    for _ in range(300):
        content = numbers.choice(heads) + numbers.randbytes(numbers.randrange(200))
        try:
            trace = load(content)
        except PerfkitError as error:
            assert str(error).isprintable()  # noqa: PT017
        else:
            assert len(trace.columns["start"]) == len(trace)


def test_importing_ingest_imports_no_decompressor_and_no_pandas() -> None:
    code = """if True:
        import sys, perfkit.ingest
        print(*{'isal', 'backports.zstd', 'compression.zstd', 'pandas', 'torch'} & {*sys.modules})
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b""


def test_zlib_streams_are_not_mistaken_for_gzip() -> None:
    with pytest.raises(UnknownFormatError):
        load(zlib.compress(document(event())))


def test_links_that_lead_nowhere_or_in_circles(tmp_path: Path) -> None:
    write(tmp_path / "job" / "a.json", event())
    try:
        (tmp_path / "job" / "loop").symlink_to(tmp_path / "job" / "loop")
        (tmp_path / "job" / "up").symlink_to(tmp_path)
        (tmp_path / "job" / "gone").symlink_to(tmp_path / "absent")
    except OSError:
        pytest.skip("links cannot be made here")
    assert [trace.path for trace in ingest.find(tmp_path / "job")] == [str(tmp_path / "job" / "a.json")]
