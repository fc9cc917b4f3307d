"""What users see, kept in files: a change shows as a difference in review."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import perfkit
from perfkit.report import json, markdown, terminal
from perfkit.report.pen import Pen
from tests.diagnoses import empty, host_only, hostile, loader_bound, two_devices

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.model.diagnosis import Diagnosis

    Golden = Callable[[str, str], None]
    Make = Callable[[], Diagnosis]

TRACES = Path(__file__).parents[3] / "traces"
DIAGNOSES = [loader_bound, two_devices, host_only, empty, hostile]


@pytest.fixture(autouse=True)
def _one_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perfkit, "__version__", "0.0.0")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, None)], ids=["80x24", "100"])
@pytest.mark.parametrize("source", DIAGNOSES)
def test_text(source: Make, width: int, height: int, golden: Golden) -> None:
    pen = Pen(width, colour=False, unicode=True)
    golden(f"{source.__name__}_{width}.txt", terminal.draw(source(), pen, height=height))


def test_ascii_text(golden: Golden) -> None:
    golden("loader_bound_60_ascii.txt", terminal.draw(loader_bound(), Pen(60, colour=False, unicode=False)))


@pytest.mark.parametrize("source", DIAGNOSES)
def test_markdown(source: Make, golden: Golden) -> None:
    golden(f"{source.__name__}.md", markdown.draw(source()))


@pytest.mark.parametrize("source", [loader_bound, hostile])
def test_json(source: Make, golden: Golden) -> None:
    golden(f"{source.__name__}.json", json.draw(source()))


@pytest.mark.parametrize("path", sorted(TRACES.glob("*.json.gz")), ids=lambda path: path.name)
def test_sample_traces(path: Path, golden: Golden) -> None:
    diagnosis = perfkit.diagnose(path)
    name = path.name.removesuffix(".json.gz")
    golden(f"trace_{name}.txt", terminal.draw(diagnosis, Pen(80, colour=False, unicode=True)))
    if name.startswith("loader_bound"):
        golden(f"trace_{name}.md", markdown.draw(diagnosis))
