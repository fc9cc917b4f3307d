from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from perfkit.model.attribution import Copy
from perfkit.report import json as report
from tests.diagnoses import attribution, diagnosis, empty, host_only, hostile, loader_bound, timeline, two_devices

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.model.diagnosis import Diagnosis

    Validator = jsonschema.Draft202012Validator
    Make = Callable[[], Diagnosis]

SCHEMA = json.loads(resources.files("perfkit.report").joinpath("schema/diagnosis-1.json").read_text())
DIAGNOSES = [loader_bound, two_devices, host_only, empty, hostile]


def parse(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def validator() -> Validator:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    return jsonschema.Draft202012Validator(SCHEMA)


@pytest.mark.parametrize("source", DIAGNOSES)
def test_it_keeps_its_contract(source: Make, validator: Validator) -> None:
    text = report.draw(source())
    assert text.isascii()
    assert text.endswith("}\n")
    validator.validate(parse(text))


def test_the_schema_knows_every_key_that_is_written() -> None:
    def compare(value: object, schema: dict[str, Any], place: str) -> None:
        while "$ref" in schema:
            schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
        if isinstance(value, dict) and "properties" in schema:
            assert set(value) == set(schema["properties"]), place
            for key, item in value.items():
                compare(item, schema["properties"][key], f"{place}.{key}")
        if isinstance(value, list):
            for item in value:
                compare(item, schema["items"], place)

    compare(report.build(loader_bound()), SCHEMA, "$")


def test_unknown_keys_and_causes_are_tolerated(validator: Validator) -> None:
    document = report.build(loader_bound())
    document["later"] = 1
    document["timelines"][0]["later"] = {}
    document["timelines"][0]["idle"]["later_cause"] = 0
    validator.validate(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "perfkit.diagnosis/2"),
        (("trace", "epoch_ns"), 1_700_000_000_123_456_789),
        (("timelines", 0, "window_ns"), 1.5),
        (("timelines", 0, "idle", "python"), -1),
        (("findings", 0, "share"), 1.5),
    ],
)
def test_the_schema_refuses_what_breaks_a_reader(validator: Validator, path: tuple[str | int, ...], value: Any) -> None:
    document = report.build(loader_bound())
    *parents, last = path
    place: Any = document
    for key in parents:
        place = place[key]
    place[last] = value
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(document)


def test_times_are_integers_and_sum_to_the_window() -> None:
    for source in DIAGNOSES:
        for line in parse(report.draw(source()))["timelines"]:
            assert line["busy_ns"] == sum(line["busy"].values())
            assert line["idle_ns"] == sum(line["idle"].values())
            assert line["busy_ns"] + line["idle_ns"] == line["window_ns"] == line["end_ns"] - line["start_ns"]
            for step in line["steps"]:
                assert sum(step["busy"].values()) + sum(step["idle"].values()) == step["end_ns"] - step["start_ns"]


def test_absolute_time_is_text() -> None:
    assert parse(report.draw(loader_bound()))["trace"]["epoch_ns"] == "1700000000123456789"


def test_what_json_cannot_hold_is_replaced() -> None:
    strange = diagnosis(attribution(timeline({"compute": 1}), copies=[Copy("x", 1, 1, 1, float("inf"))]), path="\udce9")
    document = parse(report.draw(strange))
    assert document["copies"][0]["bytes_per_s"] is None
    assert document["trace"]["path"].strip("\ufffd") == ""
    properties = parse(report.draw(hostile()))["trace"]["hardware"][0]["properties"]
    assert None in properties.values()


def test_defects_of_the_file_and_of_its_content_are_listed_once() -> None:
    source = loader_bound()
    (defect,) = source.attribution.defects
    both = source._replace(trace=source.trace._replace(defects=(*source.trace.defects, defect)))
    kinds = [item["kind"] for item in report.build(both)["trace"]["defects"]]
    assert kinds == ["bad_escape", "activities_without_launch"]


def test_top_keeps_the_first_rows() -> None:
    document = report.build(loader_bound(), top=1)
    for name in ("operators", "kernels", "copies", "collectives", "blame"):
        assert len(document[name]) == 1
    assert len(document["findings"]) == 6


def test_one_record_a_line() -> None:
    lines = report.draw(loader_bound()).splitlines()
    assert sum(line.startswith('  {"rule": ') for line in lines) == 6
