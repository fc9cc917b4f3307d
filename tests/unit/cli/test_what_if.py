"""``perfkit what-if`` as users run it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from perfkit.model.prediction import Prediction, RemoveSync, ScaleBatch
from perfkit.report.forecast import facts
from tests.unit.cli.command_line import fail, run, trace

if TYPE_CHECKING:
    from pathlib import Path


def test_all_forms_say_the_same() -> None:
    asked = ("what-if", trace(), "--overlap", "loader")
    text = run(*asked, COLUMNS="100").stdout.decode()
    markdown = run(*asked, "--format", "markdown").stdout.decode()
    (found,) = json.loads(run(*asked, "--format", "json").stdout)["predictions"]
    headline = next(line for line in text.splitlines() if "instead of" in line)
    assert headline.split(",")[0] in markdown
    assert found["low_ns"] <= found["predicted_ns"] <= found["high_ns"] < found["measured_ns"]
    assert found["saving_ns"] == found["measured_ns"] - found["predicted_ns"]
    assert found["bottleneck"] == max(found["buckets"], key=found["buckets"].get)
    assert all(assumption.split(".")[0][:40] in " ".join(text.split()) for assumption in found["assumptions"])
    assert max(map(len, text.splitlines())) <= 100


def test_changes_are_made_together() -> None:
    def predicted(*changes: str) -> int:
        (found,) = json.loads(run("what-if", trace(), *changes, "-f", "json").stdout)["predictions"]
        return int(found["predicted_ns"])

    both = predicted("--overlap", "loader", "--faster", "aten::*=2")
    assert both < min(predicted("--overlap", "loader"), predicted("--faster", "aten::*=2"))


def test_a_batch_of_other_size_is_compared_for_as_many_items() -> None:
    whole = Prediction((ScaleBatch(2.0),), "gpu0", (3,), 100, 100, 120, 90, 210, (100,), (100,), (120,), 1.0, ())
    assert "For as many items as before it takes 40.0 % less, somewhere from 5.0 % more to 55.0 % less." in facts(whole)
    assert not [fact for fact in facts(whole._replace(what_if=(RemoveSync(),))) if "items" in fact]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ((), "no change is asked for"),
        (("--faster", "aten::mm"), "has no factor"),
        (("--faster", "aten::mm=0"), "has no factor"),
        (("--faster", "aten::no_such_thing=2"), "give a name in full"),
        (("--remove", "everything"), "nothing that can be removed"),
        (("--defer", "python"), "only sync can be deferred"),
        (("--workers", "2"), "give --overlap loader"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_line(asked: tuple[str, ...], says: str) -> None:
    assert says in fail("what-if", trace(), *asked)


def test_the_trace_is_not_overwritten(tmp_path: Path) -> None:
    copy = tmp_path / "trace.json.gz"
    copy.write_bytes(trace().read_bytes())
    assert "is the trace itself" in fail("what-if", copy, "--overlap", "loader", "-o", copy)
