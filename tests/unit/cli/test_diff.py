"""`perfkit diff`, run as users run it."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from tests.unit.cli.command_line import environment, fail, run, trace

if TYPE_CHECKING:
    from pathlib import Path

BOUND, REPAIRED = trace("loader_bound_cpu"), trace("loader_repaired_cpu")


def test_the_repair_of_a_loader_is_seen() -> None:
    text = run("diff", BOUND, REPAIRED).stdout.decode()
    assert text.startswith("Faster by ")
    assert "Likely cause: waiting for data" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_trace_against_itself() -> None:
    done = run("diff", BOUND, BOUND, "--fail-on", "slower", "--fail-on", "not-comparable")
    assert done.returncode == 0
    assert done.stdout.startswith(b"No change: ")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ((REPAIRED, BOUND), 0),
        ((REPAIRED, BOUND, "--fail-on", "slower"), 1),
        ((REPAIRED, BOUND, "--fail-on", "slower", "--threshold", "99", "--allow", "program"), 1),
        ((BOUND, REPAIRED, "--fail-on", "slower"), 0),
        ((BOUND, trace("healthy_cpu"), "--fail-on", "slower"), 0),
        ((BOUND, trace("healthy_cpu"), "--fail-on", "slower", "--fail-on", "not-comparable"), 3),
    ],
)
def test_exit_status(arguments: tuple[str | Path, ...], status: int) -> None:
    done = run("diff", *arguments)
    assert done.returncode == status
    assert done.stdout
    assert not done.stderr


def test_several_runs_a_side_with_options_anywhere() -> None:
    done = run("diff", BOUND, BOUND, "--", REPAIRED, REPAIRED, REPAIRED, "--format", "json")
    document = json.loads(done.stdout)
    assert (document["base"]["runs"], document["head"]["runs"]) == (2, 3)
    assert document["interval"]["samples"] == "runs"
    assert document["verdict"] == "faster"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((BOUND,), "give BASE and HEAD"),
        ((BOUND, BOUND, BOUND), "give BASE and HEAD"),
        ((BOUND, "--", BOUND, "--", BOUND), "give BASE and HEAD"),
        (("--", BOUND), "no path before `--`"),
        ((BOUND, "--"), "no path after `--`"),
        ((BOUND, "-"), "standard input cannot be a side"),
        ((BOUND, "nothing.json"), "nothing.json cannot be opened"),
    ],
)
def test_a_wrong_request_is_one_line(arguments: tuple[str | Path, ...], said: str) -> None:
    assert said in fail("diff", *arguments)


def test_saved_diagnoses_and_a_file_by_its_suffix(tmp_path: Path) -> None:
    saved, comment = tmp_path / "saved.json.gz", tmp_path / "comment.md"
    saved.write_bytes(gzip.compress(run("diagnose", BOUND, "--format", "json").stdout))
    done = run("diff", saved, REPAIRED, "--output", comment)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert comment.read_text("utf-8").startswith("<!-- perfkit diff -->\n**Faster by ")
    for side in (saved, BOUND):
        assert "choose another name" in fail("diff", saved, BOUND, "--output", side)


def test_a_terminals_escapes_only_where_one_is_there() -> None:
    assert b"\x1b" not in run("diff", BOUND, REPAIRED).stdout
    assert environment()["TERM"] != "dumb"
