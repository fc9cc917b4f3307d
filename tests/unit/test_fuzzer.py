"""The fuzzer finds what is put there to be found, and makes it small."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.fuzz.__main__ import Campaign
from tests.fuzz.checks import diagnosis_faults
from tests.fuzz.child import signature_of
from tests.fuzz.inputs import Inputs
from tests.fuzz.mutations import cuts
from tests.fuzz.shrink import shrink
from tests.unit.ingest.found_by_fuzzing import FOUND

if TYPE_CHECKING:
    from pathlib import Path


def test_an_input_is_the_same_whenever_it_is_asked_for() -> None:
    documents, databases = (b'{"traceEvents":[{"ph":"X","ts":1}]}', b"[]"), (b"SQLite format 3\0" + bytes(1008),)
    first, second = (Inputs(1, documents, databases) for _ in range(2))
    assert [first[number] for number in range(200)] == [second[number] for number in range(200)]
    assert len({first[number] for number in range(200)}) > 100
    assert [first[number] for number in range(2, 20)] != [Inputs(2, documents, databases)[n] for n in range(2, 20)]


def test_cuts_are_ascending_positions_within_the_document() -> None:
    for seed in range(200):
        places = cuts(50, random.Random(seed))
        assert places == sorted(places)
        assert all(0 <= place <= 50 for place in places)


def test_shrinking_keeps_what_fails() -> None:
    document = bytes(range(256)) * 4
    assert shrink(document, lambda text: b"AB" in text and b"yz" in text, 30.0) == b"AByz"
    assert shrink(document, lambda text: text == document, 30.0) == document
    assert shrink(document, lambda _: False, 30.0) == document


def test_one_cause_has_one_signature() -> None:
    raised = 'Traceback (most recent call last):\n  File "a.py", line 3, in f\n    x\nValueError: {}\n'
    assert signature_of([raised.format("this")]) == signature_of([raised.format("that")])
    assert signature_of(["rows: 1 != 2", "defects: [] != [1]"]) == "rows defects"


@pytest.mark.parametrize("document", FOUND)
def test_what_was_found_is_diagnosed(document: bytes) -> None:
    assert diagnosis_faults("trace.json", document) == []


def test_a_short_campaign_runs_in_a_child(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    campaign = Campaign(seed=1, folder=tmp_path, deadline_s=60.0)
    for seconds in (10.0, 60.0, 200.0):  # a busy machine takes long to start a child
        if campaign.next_number == 0:
            campaign.run(seconds)
    assert campaign.failures == [], capsys.readouterr().out
    assert campaign.next_number > 0
