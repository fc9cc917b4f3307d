"""The drawing of many ranks."""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from rich.cells import cell_len

from perfkit.compare import compare
from perfkit.model.fleet import Failure, ProcessGroup
from perfkit.pipeline.fleet import assemble
from perfkit.report import fleet as report
from perfkit.report import json as json_report
from perfkit.report import markdown, terminal
from perfkit.report.page import diagnosis as page
from perfkit.report.pen import Pen
from tests.unit.compare.summaries import call, summary

if TYPE_CHECKING:
    from perfkit.model.diagnosis import Diagnosis

MS = 1_000_000
SCHEMA = json.loads(resources.files("perfkit.report").joinpath("schema/diagnosis-1.json").read_text())
HOSTILE = "\x1b[31m`|<b>@all\n"


def diagnosis(ranks: int = 12, *, failed: tuple[Failure, ...] = (), group: str = "default_pg") -> Diagnosis:
    """Ranks that meet five times, the second of which is late each time."""
    named = ProcessGroup("0", group, ranks, tuple(range(ranks)))
    calls = [
        call(
            [10 * MS * (at + 1) + (3 * MS if rank == 1 else rank * 1000) for rank in range(ranks)],
            group=named, kind="all_reduce", bytes=1 << 20,
        )
        for at in range(5)
    ]  # fmt: skip
    summaries = [
        summary(rank, [runs[rank] for runs in calls], world_size=ranks + 2, begin_ns=1000 * rank)
        for rank in range(ranks)
    ]
    return assemble(summaries, compare(summaries, failed=failed), "ranks")


def test_the_late_rank_comes_first_in_its_table() -> None:
    found = diagnosis()
    assert found.fleet is not None
    rows = report.rank_rows(found.fleet)
    assert rows[0][0] == "1"
    assert rows[0][-2:] == ("5", "165 ms")
    assert [row[0] for row in rows[1:]] == [str(rank) for rank in range(12) if rank != 1]
    assert all(len(row) == len(report.RANK_HEAD) for row in rows)
    assert all(len(row) == len(report.COLLECTIVE_HEAD) for row in report.collective_rows(found.fleet))
    assert found.advice.verdict.startswith("Rank 1 is late to 5 of 5 collectives")


@pytest.mark.parametrize("alike", [False, True])
def test_processes_that_are_no_ranks_are_called_what_they_are(alike: bool) -> None:
    summaries = [
        summary(None, [], window=(0, 10 * MS), path=f"trace-{number}.json")._replace(process="7" if alike else number)
        for number in ("4711", "4712")
    ]
    fleet = compare(summaries, picture=True)
    found = assemble(summaries, fleet, "kept")
    assert (fleet.of, fleet.tracks, report.remarks(fleet)) == ("processes", (), [])
    names = ["trace-4711.json", "trace-4712.json"] if alike else ["4711", "4712"]
    assert [row[0] for row in report.rank_rows(fleet)] == names
    assert all(line.rank is None for line in found.attribution.timelines)
    assert len({line.id for line in found.attribution.timelines}) == 2
    texts = [
        terminal.draw(found, Pen(width=80, colour=False, unicode=True)),
        markdown.draw(found),
        page.draw(found),
        json_report.draw(found),
    ]
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(texts.pop()))
    for text in texts:
        assert "Processes" in text
        said = text.partition("<script")[0]
        assert "Rank" not in said
        assert "rank " not in said


def test_remarks_name_who_is_not_there() -> None:
    failed = (Failure("a/rank9.json", 9, "it is empty"), Failure("b.json", None, "b.json is empty"))
    found = diagnosis(failed=failed)
    assert found.fleet is not None
    said = report.remarks(found.fleet)
    assert "Rank 9's trace cannot be read: it is empty" in said
    assert "b.json is empty" in said
    assert "There is no trace of 2 ranks of 14: 12, 13." in said


def test_it_keeps_its_contract() -> None:
    document = json.loads(json_report.draw(diagnosis(failed=(Failure("x", None, "broken"),))))
    jsonschema.Draft202012Validator(SCHEMA).validate(document)

    def compare_keys(value: Any, schema: dict[str, Any]) -> None:
        schema = next((kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}), schema)
        if "$ref" in schema:
            schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
        if isinstance(value, dict) and "properties" in schema:
            assert set(value) == set(schema["properties"])
            for key, item in value.items():
                compare_keys(item, schema["properties"][key])
        if isinstance(value, list):
            for item in value:
                compare_keys(item, schema["items"])

    compare_keys(document["fleet"], SCHEMA["properties"]["fleet"])
    assert document["fleet"]["straggler"]["rank"] == 1
    assert document["fleet"]["failed"] == [{"path": "x", "rank": None, "message": "broken"}]


@pytest.mark.parametrize("width", [40, 60, 80, 100])
@pytest.mark.parametrize("height", [12, 24, 50, None])
def test_it_fits_the_screen(width: int, height: int | None) -> None:
    text = terminal.draw(diagnosis(group=HOSTILE), Pen(width, colour=False, unicode=True), height=height)
    lines = text.splitlines()
    assert all(cell_len(line) <= width for line in lines)
    assert "\x1b" not in text
    if height is not None and height >= 24:
        assert len(lines) < height
        assert any(line.split()[:1] == ["1"] for line in lines)


def test_rows_that_are_not_shown_are_counted() -> None:
    text = terminal.draw(diagnosis(40), Pen(100, colour=False, unicode=False), top=3)
    assert "and 37 more: --top 40" in text


def test_markdown_escapes_what_the_trace_says() -> None:
    text = markdown.draw(diagnosis(group=HOSTILE, failed=(Failure(HOSTILE, None, f"{HOSTILE} is empty"),)))
    assert "\x1b" not in text
    assert "<b>@all" not in text.replace("`", "\0").split("\0")[0]
    table = next(line for line in text.splitlines() if line.startswith("| ") and "all_reduce" in line)
    assert table.replace("\\|", "").count("|") == len(report.COLLECTIVE_HEAD) + 1
