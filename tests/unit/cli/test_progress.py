from __future__ import annotations

import io
import sys
import time

import pytest

from perfkit.cli import progress


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the progress bar believes it is."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("total", [2_000_000, None])
def test_it_is_drawn_on_a_terminal_after_a_second(
    monkeypatch: pytest.MonkeyPatch, clock: list[float], total: int | None
) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with progress.LateProgress("reading [bold]x[/] trace.json") as late:
        clock[0] += 0.9
        late(500_000, total)
        assert stream.getvalue() == ""
        clock[0] += 0.2
        late(1_000_000, total)
        late(1_500_000, total)
    assert "reading [bold]x[/] trace.json" in stream.getvalue()


def test_its_stages_begin_anew(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with progress.LateProgress("http://127.0.0.1", unit="requests") as late:
        told = late.stage("timing")
        clock[0] += 2
        told(40, 80)
        assert late.bar is not None
        (task,) = late.bar.tasks
        assert (task.description, task.completed, task.total) == ("timing http://127.0.0.1", 40, 80)
        told = late.stage("tracing")
        assert (task.description, task.completed) == ("tracing http://127.0.0.1", 0)
        told(1, 10)
        assert (task.completed, task.total) == (1, 10)
    assert "1 requests" in stream.getvalue()


def test_it_is_never_drawn_into_a_file(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.LateProgress("reading") as late:
        clock[0] += 60
        late(1, 2)
    assert stream.getvalue() == ""
