"""``perfkit.profile()`` around a block and a function."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import perfkit

torch = pytest.importorskip("torch", reason="profiles what torch does")


def steps(number: int) -> None:
    model = torch.nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    for _ in range(number):
        model(torch.ones(4, 8)).sum().backward()
        optimizer.step()


def test_a_block_is_diagnosed_by_the_steps_of_its_optimizer(capsys: pytest.CaptureFixture[str]) -> None:
    before = set(Path(tempfile.gettempdir()).glob("perfkit-*"))
    with perfkit.profile() as profiled:
        steps(5)
    assert profiled.diagnosis is not None
    assert profiled.diagnosis.attribution.window.source == "Optimizer.step"
    assert len(profiled.diagnosis.attribution.timelines[0].steps) == 4
    assert capsys.readouterr().err == str(profiled)
    assert str(profiled).startswith(profiled.diagnosis.advice.verdict[:40])
    assert set(Path(tempfile.gettempdir()).glob("perfkit-*")) == before


def test_steps_can_be_told_and_the_trace_be_kept(tmp_path: Path) -> None:
    with perfkit.profile(trace=tmp_path / "kept.json", shapes=True, show=False) as profiled:
        for _ in range(4):
            profiled.step()
            torch.ones(3) + 1
    kept = perfkit.diagnose(tmp_path / "kept.json")
    assert kept.attribution.window.source == "ProfilerStep#"
    assert len(kept.attribution.timelines[0].steps) == 3


def test_each_call_of_a_function_is_recorded_on_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    @perfkit.profile()
    def train(number: int) -> int:
        steps(number)
        return number

    assert (train(3), train(4)) == (3, 4)
    said = capsys.readouterr().err
    assert "2 steps of" in said
    assert "3 steps of" in said


def test_an_exception_goes_through_and_ends_the_recording() -> None:
    with pytest.raises(ZeroDivisionError), perfkit.profile():
        1 / 0  # noqa: B018
    with perfkit.profile(show=False) as profiled:
        steps(2)
    assert profiled.diagnosis is not None


def test_two_recordings_at_once_are_refused() -> None:
    with (
        perfkit.profile(show=False),
        pytest.raises(perfkit.UsageError, match="something else is recording"),
        perfkit.profile(),
    ):
        pass


def test_a_notebook_displays_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class ZMQInteractiveShell:
        pass

    displayed: list[object] = []
    shown = SimpleNamespace(display=displayed.append)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=ZMQInteractiveShell, display=shown))
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    with perfkit.profile() as profiled:
        steps(3)
    assert displayed == [profiled]
    text = profiled._repr_markdown_()
    assert text is not None
    assert text.startswith("**The busiest thread")
