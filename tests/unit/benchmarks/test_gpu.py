from __future__ import annotations

import json
import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import figures
from benchmarks.gpu.checks import counted
from benchmarks.gpu.results import gains, merge, shortfalls
from benchmarks.gpu.steps import Place, SkipError, Step, run
from benchmarks.kernels import table
from benchmarks.kernels.timing import in_turns, spread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MACHINE = {"gpu": "NVIDIA H100 80GB HBM3", "torch": "2.11.0", "versions": {"triton": "3.6.0"}, "date": "2026-01-31"}


def entry(gb_s: float, size: int, rival: float = 1.0) -> dict[str, Any]:
    ratio = {"median": rival, "low": rival - 0.01, "high": rival + 0.01, "n": 31}
    ns = {"median": size / gb_s, "low": size / gb_s, "high": size / gb_s, "n": 31}
    return {"ns": ns, "gb_s": gb_s, "over_eager": ratio, "over_best_rival": ratio, "peak_bytes": size}


def cell(forward_gb_s: float, backward_gb_s: float, size: int = 512_000_000) -> dict[str, Any]:
    ways = {
        way: {"bytes": size, "contestants": {"eager": entry(900.0, size), "perfkit": entry(speed, size, speed / 900)}}
        for way, speed in (("forward", forward_gb_s), ("backward", backward_gb_s))
    }
    about = {"kernel": "rms_norm", "dtype": "bfloat16", "shape": [16384, 8192], "variant": {}, "skipped": {}}
    return about | ways | {"copy_gb_s": {"median": 3000.0, "low": 2990.0, "high": 3010.0, "n": 31}}


def part(steps: dict[str, Any], *, dry_run: bool = False) -> str:
    done = {name: {"state": "done", "result": result, "seconds": 1.0} for name, result in steps.items()}
    return json.dumps({"machine": MACHINE, "dry_run": dry_run, "steps": done})


def model(over_eager: float, over_compile: float, chosen: str, **speedups: float) -> dict[str, Any]:
    candidates: list[dict[str, Any]] = [
        {"name": name, "alone": {"speedup": speedup}} for name, speedup in speedups.items()
    ]
    candidates.append({"name": "wrong", "alone": None})
    site = {"kind": "rms_norm", "title": "RMSNorm", "chosen": chosen, "candidates": candidates}

    def around(value: float) -> dict[str, float]:
        return {"median": value, "low": value - 0.01, "high": value + 0.01}

    return {
        "over_eager": {"perfkit": around(over_eager)}, "over_compile": around(over_compile),
        "won": {chosen or "left as it was": 4}, "verdicts": {"sites": [site]},
    }  # fmt: skip


def program(name: str, gain: float) -> dict[str, Any]:
    found = {"rule": "PK308", "where": "", "saving": 0.5, "low": 0.4, "high": 0.6}
    ends = {"share": gain, "low": gain - 0.01, "high": gain + 0.01}
    return {"program": name, "expected": ["PK308"], "findings": [found], "gain": ends, "inside": 0.4 <= gain <= 0.6}


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """Two parts, as they come back from a GPU: a kernel fast enough forward, too slow backward; one gain missed."""
    copies = [{"bytes": size, "median": 2900.0, "low": 2800.0, "high": 2950.0, "n": 31} for size in (1 << 20, 1 << 30)]
    steps = {"copy bandwidth": {"gb_s": copies}, "kernel rms_norm": {"cells": [cell(2800.0, 1500.0)], "left": 0}}
    (tmp_path / "part-2.json").write_text(part(steps))
    (tmp_path / "part-4.json").write_text(part({name: program(name, at) for name, at in (("a", 0.5), ("b", 0.7))}))
    return tmp_path


def test_steps_are_kept_and_not_repeated(tmp_path: Path) -> None:
    calls: list[str] = []

    def act(name: str, error: Exception | None = None) -> Callable[[], dict[str, Any]]:
        def acted() -> dict[str, Any]:
            calls.append(name)
            if error is not None:
                raise error
            return {"value": name}

        return acted

    def half_done() -> dict[str, Any]:
        return {"cells": [1], "left": 3}

    steps = [
        Step("good", 1, act("good")),
        Step("half", 1, half_done),
        Step("bad", 1, act("bad", RuntimeError("broken"))),
        Step("absent", 1, act("absent", SkipError("not here"))),
        Step("long", 1e6, act("long")),
    ]
    place = Place(tmp_path, deadline=time.monotonic() + 3600)
    for _ in range(2):
        kept = run(1, steps, place, MACHINE)["steps"]
    assert calls == ["good", "bad", "absent", "bad", "absent"]
    assert {name: outcome["state"] for name, outcome in kept.items()} == {
        "good": "done",
        "half": "left",
        "bad": "failed",
        "absent": "skipped",
        "long": "left",
    }
    assert kept["good"]["result"] == {"value": "good"}
    assert "broken" in kept["bad"]["why"]
    assert kept["half"]["result"] == {"cells": [1], "left": 3}


def test_parts_become_one_file_that_says_what_fell_short(measured: Path, tmp_path: Path) -> None:
    path = merge(measured, tmp_path / "results")
    assert path.name == "h100.json"
    document = json.loads(path.read_text())
    assert list(document) == ["speed", "gallery"]
    short = list(shortfalls(document))
    assert short == [
        "speed, rms_norm bfloat16 16384x8192 backward: 50 % of copy bandwidth",
        "gallery, b: the measured gain is outside of the predicted interval",
        "gallery: 1 of 2 measured gains are inside of the predicted interval",
    ]


NONE_WON = "models: none is 1.3 times as fast as eager and no slower than torch.compile"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (model(1.4, 1.02, "kernel", kernel=1.50, native=1.52), []),
        (model(1.4, 1.02, "kernel", kernel=1.5, native=1.6), ["models, llama, RMSNorm: kernel is 6% behind native"]),
        (model(1.4, 1.02, "", compile=1.2), ["models, llama, RMSNorm: what was there is 17% behind compile"]),
        (model(1.2, 1.02, "kernel", kernel=1.5), [NONE_WON]),
        (model(1.5, 0.9, "kernel", kernel=1.5), ["models, llama: 0.90 times torch.compile's speed", NONE_WON]),
    ],
)
def test_choices_are_held_to_their_rivals(found: dict[str, Any], expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "part-3.json").write_text(part({"llama": found}))
    document = json.loads(merge(tmp_path, tmp_path / "results").read_text())
    assert list(shortfalls(document)) == expected
    (line,) = gains(document)
    assert f"{found['over_eager']['perfkit']['median']:.2f}" in line
    assert f"sites: {found['verdicts']['sites'][0]['chosen'] or 'left as it was'} 4" in line


def test_a_dry_run_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "part-2.json").write_text(part({}, dry_run=True))
    with pytest.raises(ValueError, match="measured nothing"):
        merge(tmp_path, tmp_path / "results")


def test_figures_only_of_results_that_exist(measured: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    document = json.loads(merge(measured, tmp_path / "results").read_text())
    drawn = figures.draw(document, tmp_path / "figures")
    assert [path.name for _, path in drawn] == ["h100_speed.svg", "h100_roof.svg", "h100_predicted.svg"]
    assert all("<svg" in path.read_text() for _, path in drawn)
    assert figures.draw({"gallery": document["gallery"]}, tmp_path / "other")[0][1].name == "h100_predicted.svg"
    assert figures.draw({}, tmp_path / "none") == []


def test_the_readme_shows_figures_between_its_marks() -> None:
    readme = f"before\n{figures.BEGIN}\nold\n{figures.END}\nafter\n"
    path = figures.ROOT / "docs" / "figures" / "h100_roof.svg"
    shown = figures.with_figures(readme, [("Roof", path)])
    assert shown == f"before\n{figures.BEGIN}\n![Roof](docs/figures/h100_roof.svg)\n{figures.END}\nafter\n"
    assert figures.with_figures(shown, []) == f"before\n{figures.BEGIN}\n{figures.END}\nafter\n"


def test_the_table_marks_the_fastest_and_compares_with_the_best_rival() -> None:
    lines = list(table.markdown(MACHINE, [cell(2800.0, 600.0)]))
    forward, backward = (next(line for line in lines if f"| {way} |" in line) for way in table.DIRECTIONS)
    assert "| 900 (30 %) | **2,800 (93 %)** | 3.11 [3.10, 3.12] 31 |" in forward
    assert "| **900 (30 %)** | 600 (20 %) |" in backward
    assert lines[-1] == "Fastest, of 2 comparisons: perfkit 1, eager 1."


def test_turns_begin_with_another_each_round() -> None:
    order: list[str] = []

    def call(name: str) -> None:
        order.append(name)
        time.sleep(0.0003)

    samples = in_turns({name: partial(call, name) for name in "abc"}, "cpu", 3)
    assert "".join(order) == "abcbcacab"
    assert all(len(taken) == 3 and min(taken) > 300_000 for taken in samples.values())
    found = spread([1.0, 2.0, 3.0, 4.0, 100.0])
    assert found["median"] == 3.0
    assert 1.0 <= found["low"] <= 3.0 <= found["high"] <= 100.0


def test_failed_tests_are_named(tmp_path: Path) -> None:
    path = tmp_path / "tests.xml"
    path.write_text(
        "<testsuites><testsuite><testcase name='good'/><testcase name='off'><skipped/></testcase>"
        "<testcase name='bad'><failure/></testcase></testsuite></testsuites>"
    )
    assert counted(path) == {"passed": 1, "failed": 1, "skipped": 1, "failures": ["bad"]}


def test_the_plan_names_every_step_and_every_program(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from benchmarks.gpu.__main__ import PARTS, SECONDS
    from benchmarks.programs import PROGRAMS
    from perfkit_kernels import KERNELS

    assert SECONDS.keys() == PARTS.keys()
    assert max(SECONDS.values()) < 8 * 60
    assert sum(SECONDS.values()) < 34 * 60
    names = {number: [step.name for step in part(Place(tmp_path))] for number, part in PARTS.items()}
    assert all(len(set(steps)) == len(steps) and steps for steps in names.values())
    assert [name for name in names[2] if name.startswith("kernel ")] == [f"kernel {spec.name}" for spec in KERNELS]
    assert names[4] == [pair.name for pair in PROGRAMS]
    dry = [step.name for part in PARTS.values() for step in part(Place(tmp_path, dry_run=True))]
    assert not any(re.search("loader", name) for name in dry)


def test_contestants_of_a_cell_agree_and_are_timed() -> None:
    torch = pytest.importorskip("torch")
    from benchmarks.kernels.cells import Cell, Run, measure
    from perfkit_kernels import KERNELS

    spec = next(spec for spec in KERNELS if spec.name == "rms_norm")
    wrong = spec._replace(rivals={**spec.rivals, "wrong": lambda x, *_: 2 * x, "broken": lambda *_: 1 / 0})
    found = measure(Cell(wrong, "float32", (3, 64)), Run(torch.device("cpu"), 3, "aot_eager"))
    assert {"eager", "F.rms_norm", "torch.compile"} <= set(found["forward"]["contestants"])
    assert found["skipped"]["wrong"].startswith("computes something else")
    assert found["skipped"]["broken"].startswith("failed: ZeroDivisionError")
    for way in ("forward", "backward"):
        assert found[way]["bytes"] == getattr(spec.traffic(torch.empty(3, 64), torch.empty(64)), way)
        assert found[way]["contestants"]["eager"]["over_eager"]["median"] == 1.0
