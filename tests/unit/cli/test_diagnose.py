"""``perfkit diagnose`` in a process of its own: what it prints, where, and what it refuses."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.unit.cli.command_line import COMMAND, TRACES, environment, fail, run, trace

if TYPE_CHECKING:
    from pathlib import Path

STYLE = re.compile(rb"\x1b\[[0-9;]*m")
FOREIGN = {
    "empty.json": b"",
    "lfs.json": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "text.txt": b"hello\n",
    "other.json": b'{"answer": 42}',
    "cut.json.gz": gzip.compress(b'{"traceEvents": []}' * 100)[:12],
}


def test_text_is_plain_where_it_is_not_a_terminal() -> None:
    done = run("diagnose", trace())
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith("The busiest thread waits for data ")
    assert max(map(len, lines)) <= 80
    assert b"\x1b" not in done.stdout


def test_columns_set_the_width_within_reason() -> None:
    for columns, width in (("60", 60), ("100", 100), ("300", 100), ("10", 40)):
        longest = max(map(len, run("diagnose", trace(), COLUMNS=columns).stdout.decode().splitlines()))
        assert width - 20 < longest <= width


def test_an_output_that_is_not_unicode_gets_ascii() -> None:
    done = run("diagnose", trace(), PYTHONUTF8="0", PYTHONIOENCODING="latin-1")
    assert done.stdout.isascii()
    assert b"####" in done.stdout


def test_json_on_standard_output() -> None:
    done = run("diagnose", trace(), "--format", "json", "--top", "2")
    document = json.loads(done.stdout)
    assert document["schema"] == "perfkit.diagnosis/1"
    assert document["findings"][0]["rule"] == "PK103"
    assert len(document["blame"]) <= 2


@pytest.mark.parametrize(
    ("name", "arguments", "begins"),
    [
        ("report.json", [], '{\n"schema"'),
        ("report.md", [], "**The busiest thread"),
        ("report.txt", [], "The busiest thread"),
        ("report.json", ["--format", "markdown"], "**The busiest thread"),
    ],
)
def test_the_suffix_of_the_output_is_its_format(tmp_path: Path, name: str, arguments: list[str], begins: str) -> None:
    file = tmp_path / name
    done = run("diagnose", trace(), "--output", file, *arguments, PYTHONUTF8="0", LC_ALL="C")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert file.read_text("utf-8").startswith(begins)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_dash_is_standard_input_and_output() -> None:
    done = run("diagnose", "-", "--output", "-", stdin=trace().read_bytes())
    assert done.stdout == run("diagnose", trace()).stdout.replace(trace().name.encode(), b"standard input")


def test_a_folder_is_searched_for_a_trace() -> None:
    assert run("diagnose", TRACES).returncode == 0


def test_the_window_can_be_the_whole_recording() -> None:
    text = run("diagnose", trace(), "--window", "device-span").stdout.decode()
    assert "from first to last activity" in text
    assert "no steps found" not in text


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_trace_is_refused_in_a_line(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(FOREIGN[name])
    assert name in fail("diagnose", file)
    assert fail("diagnose", "-", stdin=FOREIGN[name]).startswith("standard input ")


def test_what_cannot_be_read_or_written_is_refused_in_a_line(tmp_path: Path) -> None:
    assert "no-such-file.json" in fail("diagnose", "no-such-file.json")
    assert str(tmp_path) in fail("diagnose", tmp_path)
    assert "rank" in fail("diagnose", trace(), "--rank", "7")
    assert fail("diagnose", trace(), "--output", tmp_path / "none" / "x.md").endswith("No such file or directory")


def test_a_hostile_file_name_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    assert "\\x1b[2J" in fail("diagnose", tmp_path / "\x1b[2J\n.json")


def test_the_trace_is_never_overwritten(tmp_path: Path) -> None:
    copy = tmp_path / "trace.json.gz"
    copy.write_bytes(trace().read_bytes())
    link = tmp_path / "link.md"
    link.symlink_to(copy)
    assert fail("diagnose", copy, "--output", copy).startswith(f"{copy} is the trace itself")
    assert fail("diagnose", copy, "--output", link).startswith(f"{link} is the trace itself")
    assert fail("diagnose", tmp_path, "--output", copy).startswith(f"{copy} is one of the traces in")
    assert copy.read_bytes() == trace().read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["diagnose"], b"nothing to diagnose: give a trace"),
        (["diagnose", "x", "--window", "all"], b"'all' is not one of 'steps', 'device-span'"),
        (["diagnose", "x", "--top", "0"], b"'--top'"),
        (["diagnose", "x", "--output", "."], b"is a directory"),
        (["diagnoze"], b"No such command 'diagnoze'"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_right(arguments: list[str], message: bytes) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == b""


def test_a_reader_that_leaves_early_is_no_error() -> None:
    with subprocess.Popen(
        [*COMMAND, "diagnose", trace(), "--format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")  # noqa: PTH110
def test_a_full_disk_is_an_error_in_a_line() -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(
            [*COMMAND, "diagnose", trace()], stdout=full, stderr=subprocess.PIPE, check=False, env=environment()
        )
    assert done.returncode == 2
    assert done.stderr == b"perfkit: error: standard output cannot be written: No space left on device\n"
    assert fail("diagnose", trace(), "--output", "/dev/full") == "/dev/full cannot be written: No space left on device"


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are those of Unix")
class TestTerminal:
    """What is printed on a terminal."""

    @staticmethod
    def on_terminal(size: tuple[int, int], *arguments: str | Path, **changes: str) -> bytes:
        """Run perfkit with standard output and error on a terminal of a size, and return what it wrote there."""
        import fcntl
        import pty
        import struct
        import termios

        leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        with subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env=environment(**changes),
        ) as process:
            os.close(follower)
            written = b""
            while True:
                try:
                    piece = os.read(leader, 4096)
                except OSError:  # how Linux says that the other end is closed
                    break
                if not piece:
                    break
                written += piece
            os.close(leader)
            process.wait(60)
        return written

    @pytest.mark.parametrize("size", [(24, 80), (40, 120)])
    @pytest.mark.parametrize("name", ["loader_bound_cpu", "healthy_cpu"])
    def test_it_fits_the_screen_in_colour(self, size: tuple[int, int], name: str) -> None:
        written = self.on_terminal(size, "diagnose", trace(name))
        lines = STYLE.sub(b"", written).decode().splitlines()
        assert len(lines) < size[0]
        assert max(map(len, lines)) <= size[1]
        assert STYLE.search(written)

    @pytest.mark.parametrize("changes", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
    def test_colour_can_be_refused(self, changes: dict[str, str]) -> None:
        assert b"\x1b" not in self.on_terminal((24, 80), "diagnose", trace(), **changes)

    def test_a_terminal_is_no_trace(self) -> None:
        written = self.on_terminal((24, 80), "diagnose", "-")
        assert written.startswith(b"perfkit: error: standard input is a terminal")


def test_the_command_of_a_finding_runs_on_standard_input_too() -> None:
    found = json.loads(run("diagnose", "-", "--format", "json", stdin=trace().read_bytes()).stdout)["findings"][0]
    words = shlex.split(found["command"])
    assert words[:3] == ["perfkit", "what-if", "-"]
    assert run(*words[1:], stdin=trace().read_bytes()).returncode == 0
