"""``perfkit.profile()`` around a block and a function."""

from __future__ import annotations

import asyncio
import inspect
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

import perfkit
from perfkit.ingest import load

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

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


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_the_processor_comes_to_is_measured_beside_the_program(tmp_path: Path, device: str) -> None:
    drawn = torch.get_rng_state()
    torch.set_default_device(device)
    torch.set_default_dtype(torch.float64)
    try:
        with perfkit.profile(trace=tmp_path / "kept.json", shapes=True, show=False):
            torch.ones((3, 4)) @ torch.ones((4, 5))
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert torch.equal(torch.get_rng_state(), drawn)
    kept = load(tmp_path / "kept.json")
    assert kept.header["perfkitProcessor"]["threads"] == torch.get_num_threads()
    assert 1e8 < kept.header["perfkitProcessor"]["flops_per_s"] < 1e14
    names = [kept.strings[name] for name in kept.columns["name"].tolist()]
    assert names.count("aten::mm") == 1


def test_each_call_of_a_function_is_recorded_on_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    @perfkit.profile()
    def train(number: int) -> int:
        steps(number)
        return number

    assert (train(3), train(4)) == (3, 4)
    said = capsys.readouterr().err
    assert "2 steps of" in said
    assert "3 steps of" in said


def test_it_decorates_without_parentheses(capsys: pytest.CaptureFixture[str]) -> None:
    @perfkit.profile
    def train(number: int) -> int:
        steps(number)
        return number

    assert (train(3), train.__name__) == (3, "train")
    assert "2 steps of" in capsys.readouterr().err


def test_what_is_no_function_is_not_decorated() -> None:
    with pytest.raises(TypeError, match="options by name"):
        perfkit.profile("kept.json")  # type: ignore[call-overload]


def test_a_generator_is_recorded_while_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    @perfkit.profile
    def train(number: int) -> Generator[int, str, str]:
        steps(number)
        told = yield number
        steps(1)
        return told

    running = train(3)
    assert inspect.isgeneratorfunction(train)
    assert capsys.readouterr().err == ""
    assert next(running) == 3
    with pytest.raises(StopIteration) as ended:
        running.send("told")
    assert ended.value.value == "told"
    assert "3 steps of" in capsys.readouterr().err


def test_a_coroutine_is_recorded_while_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    @perfkit.profile()
    async def train(number: int) -> int:
        steps(number)
        await asyncio.sleep(0)
        steps(1)
        return number

    assert inspect.iscoroutinefunction(train)
    assert asyncio.run(train(3)) == 3
    assert "3 steps of" in capsys.readouterr().err


def test_an_asynchronous_generator_is_recorded_while_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    got: list[object] = []

    @perfkit.profile
    async def train(number: int) -> AsyncGenerator[int, str]:
        steps(number)
        try:
            got.append((yield number))
            yield 1
        except KeyError as error:
            got.append(error.args[0])
        steps(1)
        yield 2

    async def use() -> None:
        running = train(3)
        got.append(await anext(running))
        got.append(await running.asend("told"))
        got.append(await running.athrow(KeyError("thrown")))
        await running.aclose()

    asyncio.run(use())
    assert got == [3, "told", 1, "thrown", 2]
    assert "3 steps of" in capsys.readouterr().err


def test_what_was_recorded_before_an_exception_is_diagnosed(capsys: pytest.CaptureFixture[str]) -> None:
    def train() -> None:
        steps(5)
        1 / 0  # noqa: B018

    profiled = perfkit.profile()
    with pytest.raises(ZeroDivisionError), profiled:
        train()
    assert profiled.diagnosis is not None
    assert capsys.readouterr().err == str(profiled)
    assert "4 steps of" in str(profiled)


def test_an_exception_goes_through_though_nothing_can_be_diagnosed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError) as caught, perfkit.profile(trace=tmp_path / "no" / "kept.json"):
        1 / 0  # noqa: B018
    (note,) = caught.value.__notes__
    assert "kept.json" in note
    with perfkit.profile(show=False) as profiled:
        steps(2)
    assert profiled.diagnosis is not None


def test_an_exception_before_anything_ran_goes_through() -> None:
    with pytest.raises(ZeroDivisionError), perfkit.profile():
        1 / 0  # noqa: B018


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
