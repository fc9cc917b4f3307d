"""What is saved of a step that nobody records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perfkit.advise.saving import together
from perfkit.advise.unprofiled import unprofiled
from perfkit.model.advice import Finding
from perfkit.model.signs import Signs, Work
from perfkit.model.table import Table
from tests.diagnoses import MS, attribution, timeline

if TYPE_CHECKING:
    from perfkit.model.attribution import Attribution

GPU = timeline({"compute": 900 * MS}, {"python": 100 * MS}, steps=4)
THREAD = GPU._replace(id="host", kind="host_thread")
RECORDS, RECORD_NS = 200_000, 1_000


def program(line: object = THREAD) -> Attribution:
    """A window of a second in which 200,000 events were written down, a microsecond each at the least."""
    work = Work(line.id, True, 0, 0, 0, 0, RECORDS, RECORD_NS)  # type: ignore[attr-defined]
    return attribution(line, signs=Signs(works=Table([work])))  # type: ignore[arg-type]


def finding(ms: int, *, records: int = 0, line: str = THREAD.id) -> Finding:
    ns = ms * MS
    return Finding("PK304", "", line, "", ns / (1000 * MS), ns, ns, ns, (), "", "safe", "", records=records)


def test_what_is_written_down_elsewhere_makes_a_saving_a_larger_part_of_the_step() -> None:
    found = unprofiled(finding(100), program())
    assert found is not None
    assert found.saving_ns == pytest.approx(100 * MS / (1 - 0.3), rel=1e-6)
    assert found.saving_low_ns < 100 * MS / (1 - 0.12)
    assert found.saving_high_ns > 100 * MS / (1 - 0.6)
    assert "200,000 events" in found.apart


def test_what_is_written_down_within_a_fault_is_not_saved() -> None:
    found = unprofiled(finding(600, records=RECORDS), program())
    assert found is not None
    assert found.saving_ns == pytest.approx(1000 * MS * (600 - 300) / (1000 - 300), rel=1e-6)
    assert unprofiled(finding(100, records=RECORDS), program()) is not None  # never all of it
    assert unprofiled(finding(40, records=RECORDS), program()) is None


def test_a_slowdown_that_was_measured_decides() -> None:
    found = unprofiled(finding(100), program(), (1.25, 1.2, 1.3))
    assert found is not None
    assert found.saving_ns == pytest.approx(125 * MS, rel=1e-6)
    assert found.saving_high_ns - found.saving_low_ns < 20 * MS


def test_a_device_is_not_slowed_down_by_what_the_host_writes() -> None:
    asked = finding(100, line=GPU.id)
    assert unprofiled(asked, program(GPU)) is asked


@pytest.mark.parametrize(("part", "errors"), [(0.5, 0.5), (0.9, 0.1405)])
def test_what_is_nearly_all_of_a_step_is_so_however_steps_differ(part: float, errors: float) -> None:
    lengths = [100, 150, 200, 250, 300]  # by a median deviation of 50, two standard errors are 66.3 of 200
    ends = [sum(lengths[: at + 1]) * MS for at in range(len(lengths))]
    first = next(iter(THREAD.steps))
    steps = [first._replace(start_ns=end - ms * MS, end_ns=end) for end, ms in zip(ends, lengths, strict=True)]
    works = Table([Work(THREAD.id, True, 0, 0, 0, 0, 0, 0)])
    line = THREAD._replace(steps=Table(steps))
    found = unprofiled(finding(round(part * line.window_ns / MS)), attribution(line, signs=Signs(works=works)))
    assert found is not None
    assert (found.saving_ns - found.saving_low_ns) / line.window_ns == pytest.approx(errors * 66.3 / 200, rel=0.01)


def test_what_is_not_known_of_independent_parts_adds_up_as_squares() -> None:
    assert together((7.0, 10.0, 14.0), (16.0, 20.0, 23.0)) == (25.0, 30.0, 35.0)
