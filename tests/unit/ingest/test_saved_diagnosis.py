"""A diagnosis that was written as JSON is read back as it was, or refused in a line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.errors import UnknownFormatError, UnreadableTraceError
from perfkit.ingest.saved_diagnosis import load_diagnosis
from perfkit.report import json as report
from tests.diagnoses import empty, host_only, hostile, loader_bound, two_devices

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from perfkit.model.diagnosis import Diagnosis


@pytest.mark.parametrize("source", [loader_bound, two_devices, host_only, empty])
def test_what_was_written_is_read(source: Callable[[], Diagnosis], tmp_path: Path) -> None:
    path, written = tmp_path / "saved.json", source()
    path.write_text(report.draw(written), "utf-8")
    found = load_diagnosis(path)
    assert found is not None
    assert found.attribution.timelines == written.attribution.timelines
    for name in ("blame", "blocked", "operators", "kernels", "copies", "collectives", "launches"):
        assert getattr(found.attribution, name) == getattr(written.attribution, name), name
    assert found.attribution.window == written.attribution.window
    assert found.advice.timeline == written.advice.timeline
    assert report.build(found)["timelines"] == report.build(written)["timelines"]


def test_names_that_json_cannot_hold_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "saved.json"
    path.write_text(report.draw(hostile()), "utf-8")
    found = load_diagnosis(path)
    assert found is not None
    assert [row.name for row in found.attribution.kernels] == [row.name for row in hostile().attribution.kernels]


@pytest.mark.parametrize("text", ["", "{}", '{"traceEvents": []}', '{"schema": "perfkit.difference/1"}', "\x1f\x8b"])
def test_anything_else_is_none(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(text or " ", "utf-8")
    assert load_diagnosis(path) is None


def test_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "saved.json"
    path.write_text('{"schema": "perfkit.diagnosis/7"}', "utf-8")
    with pytest.raises(UnknownFormatError, match="of version 7: this perfkit reads version 1"):
        load_diagnosis(path)


def edited(change: Callable[[dict[str, Any]], object]) -> str:
    document = json.loads(report.draw(loader_bound()))
    change(document)
    return json.dumps(document)


DAMAGE: list[Callable[[dict[str, Any]], object]] = [
    lambda d: d.pop("timelines"),
    lambda d: d.update(timelines={"a": 1}),
    lambda d: d["timelines"][0].update(busy=None),
    lambda d: d["timelines"][0].update(end_ns=10**30),
    lambda d: d["timelines"][0].update(end_ns="5"),
    lambda d: d["timelines"][0]["busy"].update(compute=1),
    lambda d: d["timelines"][0]["busy"].update(compute=-1),
    lambda d: d["timelines"][0]["steps"][0].update(end_ns=1),
    lambda d: d["kernels"][0].update(device_ns=True),
    lambda d: d["kernels"][0].update(name=[]),
    lambda d: d["trace"].update(epoch_ns="x"),
    lambda d: d["trace"].update(hardware=[{}]),
    lambda d: d["operators"].append(3),
]


@pytest.mark.parametrize("damage", range(len(DAMAGE)))
def test_what_is_not_what_was_written_is_refused(damage: int, tmp_path: Path) -> None:
    path = tmp_path / "saved.json"
    path.write_text(edited(DAMAGE[damage]), "utf-8")
    with pytest.raises(UnreadableTraceError, match="saved diagnosis that cannot be read"):
        load_diagnosis(path)


def test_unknown_keys_and_causes_are_tolerated(tmp_path: Path) -> None:
    def newer(document: dict[str, Any]) -> None:
        document["invented"] = [1]
        document["kernels"][0]["invented"] = {}
        line = document["timelines"][0]
        line["idle"]["invented"] = line["idle"].pop("python")
        line["invented"] = "x"

    path = tmp_path / "saved.json"
    path.write_text(edited(newer), "utf-8")
    found = load_diagnosis(path)
    assert found is not None
    assert "invented" in found.attribution.timelines[0].idle


def test_a_document_that_breaks_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "saved.json"
    path.write_text(report.draw(loader_bound())[:-40], "utf-8")
    with pytest.raises(UnreadableTraceError):
        load_diagnosis(path)
