"""A service under load in words: every request is accounted for, and who was late is said."""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

pytest.importorskip("hdrh", reason="the extra `serve` is not installed")

from perfkit.model.load import Load, RequestSplit, Tally
from perfkit.report import load as report
from perfkit.serve.measure import quantiles
from perfkit.serve.verdict import say
from tests.loads import MS, load, stretch

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = json.loads(resources.files("perfkit.report").joinpath("schema/diagnosis-1.json").read_text("utf-8"))
WARM = Tally(3, 3, {})


def text(found: Load) -> str:
    return "\n".join(report.sentences(found))


def split_of(**fields: Any) -> RequestSplit:
    split = load().split
    assert split is not None
    return split._replace(**fields)


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ({}, "3 more were sent to warm up, and 230 while the recording was set up and written: all answered well."),
        ({"HTTP 503": 2}, "and 230 while the recording was set up and written: failed HTTP 503 (2)."),
    ],
)
def test_requests_beside_the_tables_are_accounted_for(errors: Mapping[str, int], said: str) -> None:
    around = Tally(230, 230 - sum(errors.values()), errors)
    assert said in text(load()._replace(warm_up=WARM, around=around))


@pytest.mark.parametrize(("by", "when"), [("pid 7", "while it was traced"), ("", "while a trace was tried")])
def test_requests_of_a_trace_without_a_split_are_accounted_for(by: str, when: str) -> None:
    found = load()._replace(split=None, traced_by=by, around=Tally(1, 1, {}))
    assert f"1 more was sent {when}: all answered well." in text(found)


def test_nothing_more_was_sent() -> None:
    assert "more" not in text(load()._replace(around=Tally(0, 0, {})))


@pytest.mark.parametrize(
    ("linked", "why"),
    [
        ("marks", "4 that no mark of work names"),
        ("order", "4 that were never the next to be answered while work ran"),
        ("alone", "4 that were never alone while work ran"),
    ],
)
def test_why_whole_requests_are_not_split_is_said(linked: str, why: str) -> None:
    split = split_of(marked=71, split=64, unlinked=4, linked=linked, errors={"HTTP 500": 5})
    said = text(load()._replace(split=split))
    assert f"Left out: 3 that failed, {why}." in said
    assert "Failed while it was traced: HTTP 500 (5)." in said
    assert "Left out" not in text(load())


def test_the_keys_are_those_of_the_schema_and_old_files_stay_valid() -> None:
    schema = {"$ref": "#/$defs/load", "$defs": SCHEMA["$defs"]}
    document = json.loads(json.dumps(report.build(load()._replace(warm_up=WARM, around=WARM))))
    jsonschema.Draft202012Validator(schema).validate(document)
    assert set(document) == set(SCHEMA["$defs"]["load"]["properties"])
    assert set(document["split"]) == set(SCHEMA["$defs"]["request_split"]["properties"])
    for key in ("warm_up", "around"):
        assert set(document.pop(key)) == set(SCHEMA["$defs"]["tally"]["properties"])
    assert set(document["stretch"]) == set(SCHEMA["$defs"]["stretch"]["properties"])
    for key in ("errors", "unlinked"):
        del document["split"][key]
    del document["stretch"]["unsendable"]
    jsonschema.Draft202012Validator(schema).validate(document)


def test_a_rate_that_this_machine_cannot_send_is_not_held_against_the_service() -> None:
    behind = stretch(50_000, 5_000)._replace(
        achieved_per_s=4_900.0, lateness=quantiles([4_500 * MS] * 9), stopped="the service fell behind", unsendable=True
    )
    found = Load("http://127.0.0.1/", "poisson", behind._replace(errors={}))
    assert say(found).startswith(
        "This machine cannot send 50000 requests/s: it sent 4900, and most of their time (P50 "
    )
    assert "give a lower --rate, or send from several machines." in say(found)
    assert "fell behind" not in say(found) + text(found)


def test_a_service_that_falls_behind_is_blamed() -> None:
    behind = stretch(100, 5_000)._replace(achieved_per_s=30.0, stopped="the service fell behind")
    found = Load("http://127.0.0.1/", "poisson", behind)
    assert say(found).startswith("At 100 requests/s the service fell behind, and P99 is ")
    assert "The sending ended early: the service fell behind." in text(found)
