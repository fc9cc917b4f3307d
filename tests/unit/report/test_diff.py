"""Reports of a Difference: golden outputs, the JSON contract, and names that are made to harm."""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

import perfkit
from perfkit.compare.diff import diff
from perfkit.report import diff_json, diff_markdown, diff_text, diff_words
from perfkit.report.pen import Pen
from tests import differences as made
from tests.differences import kernel, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.model.difference import Difference

    Golden = Callable[[str, str], None]
    Make = Callable[[], Difference]

SCHEMA = json.loads(resources.files("perfkit.report").joinpath("schema/difference-1.json").read_text("utf-8"))
DIFFERENCES = [made.faster, made.slower, made.same, made.fixed_duration, made.nothing, made.of_hostile_names]


@pytest.fixture(autouse=True)
def _one_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perfkit, "__version__", "0.0.0")


@pytest.mark.parametrize("source", DIFFERENCES)
def test_text(source: Make, golden: Golden) -> None:
    golden(f"diff_{source.__name__}_80.txt", diff_text.draw(source(), Pen(80, colour=False, unicode=True)))


@pytest.mark.parametrize("source", DIFFERENCES)
def test_markdown(source: Make, golden: Golden) -> None:
    golden(f"diff_{source.__name__}.md", diff_markdown.draw(source()))


@pytest.mark.parametrize("source", [made.faster, made.of_hostile_names])
def test_json(source: Make, golden: Golden) -> None:
    golden(f"diff_{source.__name__}.json", diff_json.draw(source(), top=4))


@pytest.mark.parametrize("source", DIFFERENCES)
def test_the_json_keeps_its_contract(source: Make) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    text = diff_json.draw(source())
    assert text.isascii()
    document = json.loads(text)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert sum(bucket["change_ns"] for bucket in document["buckets"]) == document["change_ns"]


def test_the_schema_knows_every_key_that_is_written() -> None:
    def compare(value: object, schema: dict[str, Any], place: str) -> None:
        schema = schema.get("anyOf", [schema])[0]
        if "$ref" in schema:
            schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
        if isinstance(value, dict):
            assert set(value) == set(schema["properties"]), place
            for key, item in value.items():
                compare(item, schema["properties"][key], f"{place}.{key}")
        for item in value if isinstance(value, list) else ():
            compare(item, schema["items"], place)

    for source in (made.faster, made.fixed_duration):
        compare(diff_json.build(source()), SCHEMA, "$")


@pytest.mark.parametrize("width", [40, 80, 100])
@pytest.mark.parametrize("source", DIFFERENCES)
def test_no_line_is_longer_than_the_terminal(source: Make, width: int) -> None:
    for line in diff_text.draw(source(), Pen(width, colour=False, unicode=False)).splitlines():
        assert len(line) <= width
        assert line.isascii()
        assert line.isprintable()


def test_a_comment_is_found_again_and_says_the_verdict_first() -> None:
    first, second, *_ = diff_markdown.draw(made.faster()).splitlines()
    assert first == diff_markdown.MARKER
    assert second.startswith("**Faster by 30.0 ms a step (30.0 %): 100 ms to 70.0 ms a step")


def test_a_comment_is_short_where_nothing_moved() -> None:
    text = diff_markdown.draw(made.same())
    before, _, folded = text.partition("<details>")
    assert len(before.strip().splitlines()) == 2
    assert folded.rstrip().endswith("</details>")
    assert "<details>" not in folded


def test_a_comment_fits_however_much_changed() -> None:
    base = run(kernels=[kernel(f"{number:03}{'k' * 180}", 40, 10 + number) for number in range(400)])
    head = run(kernels=[kernel(f"{number:03}{'k' * 180}", 40, 20 + 3 * number) for number in range(400)])
    found = diff([base], [head])
    for top in (None, 10_000):
        text = diff_markdown.draw(found, top=top)
        assert len(text) <= 65_000
        assert text.count("<details>") == text.count("</details>")


def test_names_cannot_leave_their_place() -> None:
    text = diff_markdown.draw(made.of_hostile_names())
    assert "\x1b" not in text
    outside = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", text)  # of code spans, in which nothing means anything
    ours = re.sub(r"</?(details|summary)>|<!-- perfkit diff -->", "", outside)
    assert not set("<[") & set(ours.replace("\\<", "").replace("\\[", ""))
    assert "\x1b" not in diff_text.draw(made.of_hostile_names(), Pen(80, colour=False, unicode=True))


def test_what_is_not_comparable_says_how_to_compare_it_all_the_same() -> None:
    assert diff_words.notes(made.fixed_duration())[-1] == "`--allow duration` compares them all the same"
    assert not any("--allow" in note for note in diff_words.notes(made.nothing()))
