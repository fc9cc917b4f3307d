from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import perfkit
from perfkit.model.recording import RecordedProcess, Recording
from perfkit.model.table import Table
from perfkit.pipeline.diagnose import diagnose
from perfkit.report.page import diagnosis as page
from perfkit.report.page import difference as difference_page
from perfkit.report.page.shell import ASSETS, LONGEST_NAME, embed, marked
from tests import diagnoses, differences

TRACE = Path(__file__).parents[3] / "traces" / "loader_bound_cpu.json.gz"
EVENT_ATTRIBUTE = re.compile(r"^on|^style$")
OUTWARD = {"src", "srcset", "action", "formaction", "poster", "background", "data"}


class Page(HTMLParser):
    """What a browser would make of a page: its elements, and the texts of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.texts: list[str] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag if tag in self.raw else ""
        if self._inside:
            self.raw[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.raw[self._inside][-1] += data
        else:
            self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw["script"][0])
        return found


@pytest.fixture(scope="module")
def drawn() -> Page:
    return Page(page.draw(diagnose(TRACE, picture=True)))


@pytest.mark.parametrize("name", ["loader_bound", "two_devices", "host_only", "empty", "hostile"])
def test_every_kind_of_diagnosis_is_drawn(name: str) -> None:
    diagnosis = getattr(diagnoses, name)()
    found = Page(page.draw(diagnosis))
    assert found.all("h1")
    assert len(found.all("li")) >= len(diagnosis.advice.findings)
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in found.elements:
        for reference in ("aria-labelledby", "aria-controls", "aria-describedby"):
            assert attributes.get(reference) is None or attributes[reference] in ids


def test_the_policy_allows_these_scripts_and_this_style_and_nothing_else(drawn: Page) -> None:
    (policy,) = [meta["content"] for meta in drawn.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    texts = [*drawn.raw["style"], *drawn.raw["script"][1:]]
    digests = {f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts}
    assert set(re.findall(r"'sha256-[^']+'", policy)) == digests
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_nothing_is_asked_of_the_network_and_nothing_runs_from_an_attribute(drawn: Page) -> None:
    for tag, attributes in drawn.elements:
        assert tag not in {"link", "iframe", "img", "object", "embed", "base", "form"}
        assert not OUTWARD & set(attributes)
        assert not [name for name in attributes if EVENT_ATTRIBUTE.match(name)]
        assert (attributes.get("href") or "#").startswith("#")


def test_names_of_the_trace_are_never_markup() -> None:
    text = page.draw(diagnoses.hostile())
    found = Page(text)
    assert not [tag for tag, _ in found.elements if tag == "img"]
    assert len(found.raw["script"]) == 3
    assert any("<script>alert(1)</script>" in one for one in found.texts)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029]", text)
    assert "\\x1b[31mred" in "".join(found.texts)


@pytest.mark.parametrize("name", [name for name in diagnoses.HOSTILE if name])
def test_data_cannot_end_its_element_and_is_read_back(name: str) -> None:
    text = str(embed({"name": name}))
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text)["name"] == name


def test_names_between_backticks_are_code_and_escaped() -> None:
    assert marked("In `<b>` and `x`.") == "In <code>&lt;b&gt;</code> and <code>x</code>."
    assert marked("One ` alone <b>") == "One ` alone &lt;b&gt;"


def test_the_picture_is_there_with_what_proves_each_finding(drawn: Page) -> None:
    data = drawn.data
    finding = data["findings"][0]
    assert finding["causes"] == ["data_loading"]
    kinds = data["picture"]["kinds"]
    owners = next(track for track in data["picture"]["tracks"] if track["role"] == "owners")
    assert kinds.index("data_loading") in owners["kind"]
    assert data["timelines"][0]["steps"]
    assert {flame["by"] for flame in data["flames"]} >= {"module"}
    assert len(drawn.all("table")) >= 3


def test_without_a_picture_there_is_a_page_without_a_timeline() -> None:
    found = Page(page.draw(diagnoses.loader_bound()))
    assert "picture" not in found.data
    assert not [element for _, element in found.elements if element.get("id") == "scene"]


def test_long_names_and_many_rows_stay_small() -> None:
    rows = perfkit.diagnose(TRACE).attribution.operators
    many = [rows[0]._replace(name=f"{number}{'n' * 5000}") for number in range(2000)]
    diagnosis = diagnoses.loader_bound()
    crowded = diagnosis._replace(attribution=diagnosis.attribution._replace(operators=type(rows)(many)))
    text = page.draw(crowded)
    assert len(text) < 1_000_000
    assert "n" * (LONGEST_NAME + 1) not in text
    assert "1,600 more are in the JSON report" in text


def test_findings_say_what_they_cost_and_how_safe_the_fix_is() -> None:
    diagnosis = diagnoses.loader_bound()
    text = page.draw(diagnosis)
    for finding in diagnosis.advice.findings:
        assert finding.rule in text
        assert f'class="safety {finding.safety}"' in text


def test_the_chart_library_is_the_one_that_is_named() -> None:
    named = tomllib.loads((ASSETS / "VENDORED.toml").read_text(encoding="utf-8"))
    text = (ASSETS / "d3.min.js").read_text(encoding="utf-8")
    assert f"v{named['version']}" in text.splitlines()[0]
    assert "ISC" in (ASSETS / "d3.LICENSE").read_text(encoding="utf-8") or "Permission to use" in (
        ASSETS / "d3.LICENSE"
    ).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["faster", "slower", "same", "fixed_duration", "nothing", "of_hostile_names"])
def test_every_kind_of_difference_is_drawn(name: str) -> None:
    difference = getattr(differences, name)()
    text = difference_page.draw(difference)
    found = Page(text)
    assert found.all("h1")
    assert len(found.raw["script"]) == 3
    assert difference.verdict.replace("_", " ") in found.texts
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029]", text)


@pytest.mark.parametrize("name", ["faster", "slower", "same"])
def test_the_waterfall_leads_from_base_to_head(name: str) -> None:
    difference = getattr(differences, name)()
    (base, *falls, head), _ = difference_page.waterfall(difference)
    at = base.width
    for fall in falls:
        start = fall.left + fall.width if fall.direction == "less" else fall.left
        assert start == pytest.approx(at)
        at = fall.left if fall.direction == "less" else fall.left + fall.width
    assert at == pytest.approx(head.width)
    assert all(fall.left >= 0 and fall.left + fall.width <= 100.001 for fall in (base, *falls, head))


def under_load() -> Page:
    pytest.importorskip("hdrh")
    from tests.loads import load

    return Page(page.draw(diagnoses.loader_bound()._replace(load=load())))


def test_a_load_is_drawn_with_every_request_in_its_histogram() -> None:
    found = under_load()
    titles = [text for text in found.texts if re.fullmatch(r".* to .*: [\d,]+ requests?", text)]
    assert sum(int(re.sub(r"\D", "", text.rpartition(":")[2])) for text in titles) == 400
    assert {"P50", "P90", "P99", "objective p99=200ms"} <= set(found.texts)
    circles = [circle["class"] for circle in found.all("circle")]
    assert circles == ["held", "held", "held", "broke"]
    assert [
        box["aria-label"]
        for box in found.all("svg")
        if "23.5 %; host preparation 8.8 %" in (box.get("aria-label") or "")
    ]
    assert any("capacity: it holds p99=200ms at 40" in text.lower() for text in found.texts)
    assert "http://127.0.0.1:8000/<script>" in found.texts


def test_everything_of_a_load_is_inside_of_its_chart() -> None:
    found = under_load()
    places = [(float(c["cx"] or 0), float(c["cy"] or 0)) for c in found.all("circle")]
    assert all(0 < x < 640 and 0 < y < 190 for x, y in places)
    assert sorted(places) == places  # by the rate that was asked for
    assert places[0][1] > places[-1][1]  # later is higher


def test_without_the_library_of_histograms_the_rest_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hdrh")
    from tests.loads import load

    found = load()
    monkeypatch.setitem(sys.modules, "hdrh.histogram", None)
    drawn = Page(page.draw(diagnoses.loader_bound()._replace(load=found)))
    assert "P99" in drawn.texts  # of the table
    assert not [text for text in drawn.texts if re.fullmatch(r".* to .*: [\d,]+ requests?", text)]


def test_it_is_said_how_the_trace_was_recorded() -> None:
    process = RecordedProcess(
        1, None, "train <b>.py", "trace.json", 5, 20, "Optimizer.step", "whole", "",
        (10, 11), (20, 21), (2.0, 1.8, 2.2), {"start": 0.5},
    )  # fmt: skip
    recording = Recording("python train.py", 0, Table([process]))
    found = Page(page.draw(diagnoses.loader_bound()._replace(recording=recording)))
    assert "How it was recorded" in found.texts
    assert "train <b>.py" in found.texts
    assert any("2.00 times as long" in text for text in found.texts)
