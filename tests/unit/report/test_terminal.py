from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from perfkit.model.table import Table
from perfkit.report import outline, terminal
from perfkit.report.pen import Pen
from tests.diagnoses import empty, host_only, hostile, loader_bound, two_devices

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.model.diagnosis import Diagnosis

    Make = Callable[[], Diagnosis]

DIAGNOSES = [loader_bound, two_devices, host_only, empty, hostile]
STYLE = re.compile(r"\x1b\[[0-9;]*m")


def draw(diagnosis: Diagnosis, width: int = 80, height: int | None = None, top: int | None = None, **pen: bool) -> str:
    return terminal.draw(diagnosis, Pen(width, **{"colour": False, "unicode": True} | pen), height=height, top=top)


@pytest.mark.parametrize("diagnosis", DIAGNOSES)
@pytest.mark.parametrize("width", [40, 60, 80, 100])
@pytest.mark.parametrize("pen", [{}, {"unicode": False}, {"colour": True}], ids=["plain", "ascii", "colour"])
def test_no_line_is_wider_than_the_screen_or_can_harm_it(diagnosis: Make, width: int, pen: dict[str, bool]) -> None:
    text = STYLE.sub("", draw(diagnosis(), width, **pen))
    for line in text.splitlines():
        assert cell_len(line) <= width
        assert line.isprintable()
        assert line == line.rstrip()
    if "unicode" in pen:
        assert text.isascii()


@pytest.mark.parametrize("diagnosis", DIAGNOSES)
@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("height", [24, 30, 40, 60])
def test_it_fits_a_screen_with_a_line_left_for_the_prompt(diagnosis: Make, width: int, height: int) -> None:
    assert len(draw(diagnosis(), width, height).splitlines()) < height


@pytest.mark.parametrize("diagnosis", DIAGNOSES)
def test_colour_changes_nothing_but_colour(diagnosis: Make) -> None:
    painted = STYLE.sub("", draw(diagnosis(), colour=True))
    assert [line.rstrip() for line in painted.splitlines()] == draw(diagnosis()).splitlines()


def test_everything_is_on_the_smallest_screen() -> None:
    text = draw(loader_bound(), height=24)
    for part in (
        "The GPU waits for data 30 % of each step",
        "job.pt.trace.json.gz: torch-profiler, 57,234 events, rank 0 of 8",
        "NVIDIA A100-SXM4-80GB: 5 steps of 200 ms (ProfilerStep#, first left out)",
        "waiting for data",
        "1 PK103 The data loader works in the training process",
        "2 PK301",
        "3 PK106",
        "vectorized_elementwise_kernel<4, ",
        "Escapes that JSON does not have",
        "perfkit explain PK103",
    ):
        assert part in text


def test_a_larger_screen_says_more() -> None:
    lengths = [len(draw(loader_bound(), height=height).splitlines()) for height in (24, 32, 40, None)]
    assert lengths == sorted(set(lengths))


def test_shares_that_are_not_shown_are_summed() -> None:
    text = draw(loader_bound(), height=24)
    shown = re.findall(
        r"^  \S.*?(<?[\d.]+) % +[\d.]+ [mun]?s$", text.partition("Where")[2].partition("\n\n")[0], re.MULTILINE
    )
    assert sum(map(float, shown)) == pytest.approx(100, abs=0.1)


def test_top_sets_the_number_of_rows_whatever_the_height() -> None:
    text = draw(loader_bound(), height=24, top=2)
    assert "2 PK301" in text
    assert "3 PK" not in text
    assert "ncclDevKernel" in text
    assert "aten::add_" in text


def test_what_is_hidden_is_announced() -> None:
    assert "and 3 smaller ones: --top 6" in draw(loader_bound())


def test_other_devices_are_named() -> None:
    assert "71/0: busy 95.0 % of 100 ms, idle most by Python (5.00 ms)" in draw(two_devices())


def test_an_empty_trace_is_a_short_answer() -> None:
    assert draw(empty()).splitlines() == [
        "The trace holds no activity whose time could be attributed.",
        "",
        "job.pt.trace.json.gz: torch-profiler, 0 events",
    ]


def test_a_number_and_its_unit_stand_on_one_line() -> None:
    text = "it computes 22 % of 3.50 ms at 1.42 TB/s, and in 5 steps of 10 us (1 %), not once in 99 s."
    for width in range(12, 60):
        lines = Pen(width, colour=False, unicode=True).wrap(text, width, 99)
        assert " ".join(lines) == text
        assert not [line for line in lines if re.match(r"(?:%|[mu]?s|TB/s)(?:\W|$)", line)]


def test_a_finding_names_its_place_on_the_smallest_screen() -> None:
    for line in ("   At `train.py(41): <module>`. ", "   At `net.py(12): forward`. "):
        assert line in draw(loader_bound(), height=24)
    assert "At `train.py(41)" not in draw(loader_bound())  # whose evidence has it


def test_rows_of_one_name_are_told_apart() -> None:
    operator = loader_bound().attribution.operators[0]
    rows = [
        operator._replace(name="aten::addmm", module=module, where=where)
        for module, where in (
            ("Linear", "a/net.py(1): f"),
            ("nn.Module: Linear", "a/net.py(2): g"),
            ("", "b.py(3): h"),
            ("", ""),
        )
    ]
    assert outline.operator_names(rows) == [
        "aten::addmm in Linear, net.py(1): f",
        "aten::addmm in Linear, net.py(2): g",
        "aten::addmm in b.py(3): h",
        "aten::addmm",
    ]
    assert outline.operator_names(rows[:1]) == ["aten::addmm in Linear"]


def test_what_held_up_a_thread_is_not_cut_short() -> None:
    diagnosis = loader_bound()
    blocked = diagnosis.attribution.blocked[0]._replace(thread="python " * 14)
    diagnosis = diagnosis._replace(attribution=diagnosis.attribution._replace(blocked=Table([blocked])))
    assert outline.blocked_sentences(diagnosis)[0] in " ".join(draw(diagnosis).split())


def test_all_evidence_is_there_where_there_is_room() -> None:
    diagnosis = loader_bound()
    finding = diagnosis.advice.findings[0]
    finding = finding._replace(evidence=tuple(f"Sentence {number} is here to be read." for number in range(40)))
    diagnosis = diagnosis._replace(advice=diagnosis.advice._replace(findings=Table([finding])))
    assert "Sentence 39 is here" in " ".join(draw(diagnosis).split())
