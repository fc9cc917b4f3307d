"""Two sides and their difference, from hand-made diagnoses."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest

from perfkit.compare.diff import diff
from perfkit.compare.spread import STUDENT_975, half_width
from perfkit.compare.units import apportion
from perfkit.model.attribution import Operator
from perfkit.model.difference import Run
from perfkit.model.trace import Defect, Device
from tests import differences as made
from tests.diagnoses import MS, attribution, diagnosis, timeline
from tests.differences import ADD, GEMM, NORM, kernel, run, with_steps

if TYPE_CHECKING:
    from perfkit.model.difference import Difference, RowChange


def kinds(found: Difference) -> list[str]:
    return [obstacle.kind for obstacle in found.obstacles]


def row(found: Difference, name: str, table: str = "kernel") -> RowChange:
    (one,) = [row for row in found.rows if row.name == name and row.table == table]
    return one


def test_a_run_against_itself() -> None:
    found = diff([run()], [run()])
    assert (found.verdict, found.change_ns, found.cause, found.obstacles) == ("same", 0, None, ())
    assert {row.kind for row in found.rows} == {"same"}
    assert (found.work, found.per_call) == (1.0, 1.0)


def test_times_are_those_of_a_step_and_sum_exactly() -> None:
    found = diff([run(with_steps(100, 101, 100))], [run(with_steps(70, 71))])
    assert found.unit == "step"
    assert (found.base.steps, found.head.steps) == (3, 2)
    assert found.base.unit_ns == round(Fraction(301 * MS, 3))
    assert sum(bucket.change_ns for bucket in found.buckets) == found.change_ns
    assert found.base.busy_ns + found.base.idle_ns == found.base.unit_ns


def test_parts_that_do_not_divide_are_rounded_to_a_sum_that_does_not_depend_on_their_order() -> None:
    parts = {"b": Fraction(10, 3), "a": Fraction(10, 3), "c": Fraction(1, 3)}
    rounded = apportion(parts)
    assert sum(rounded.values()) == 7
    assert apportion(dict(reversed(parts.items()))) == rounded


def test_devices_are_averaged() -> None:
    lines = (timeline({"compute": 60 * MS}, {"python": 40 * MS}), timeline({"compute": 100 * MS}, id="71/1", device=1))
    found = diff([run(*lines)], [run(*lines)])
    assert {bucket.name: bucket.base_ns for bucket in found.buckets if bucket.base_ns} == {
        "compute": 80 * MS,
        "python": 20 * MS,
    }
    assert (found.base.timelines, found.base.unit_ns) == (2, 100 * MS)
    assert row(found, GEMM).base_calls == 20  # of 40 on two devices


@pytest.mark.parametrize(
    ("base", "head", "threshold", "verdict"),
    [
        ((100, 101, 99), (90, 91, 89), None, "faster"),
        ((100, 101, 99), (110, 111, 109), None, "slower"),
        ((100, 101, 99), (102, 103, 101), None, "same"),  # below 3 %, and these are steps of one run
        ((100, 101, 99), (102, 103, 101), 0.0, "same"),  # within the interval
        ((100, 100, 100), (102, 102, 102), 0.01, "slower"),
        ((100, 140, 60), (110, 150, 70), 0.0, "same"),
        ((100,), (104,), None, "same"),  # a single sample: 5 %
        ((100,), (106,), None, "slower"),
        ((100,), (104,), 0.01, "slower"),
    ],
)
def test_verdict(base: tuple[float, ...], head: tuple[float, ...], threshold: float | None, verdict: str) -> None:
    found = diff([run(with_steps(*base))], [run(with_steps(*head))], threshold=threshold)
    assert found.verdict == verdict
    assert (found.interval is None) == (len(base) == 1)
    assert (found.cause is None) == (verdict == "same")


def test_several_runs_give_the_interval_instead_of_their_steps() -> None:
    found = made.slower()
    assert found.interval is not None
    assert found.interval.samples == "runs"
    # Welch by hand: both variances are 1 ms^2 of three samples, so t has four degrees of freedom.
    width = 2.776 * (1 / 3 + 1 / 3) ** 0.5 * MS
    assert found.interval.high_ns == pytest.approx(20 * MS + width, rel=1e-6)
    assert found.interval.low_ns == pytest.approx(20 * MS - width, rel=1e-6)
    assert (found.verdict, found.threshold) == ("slower", 0.01)
    assert found.cause is not None
    assert found.cause.bucket.name == "compute"


def test_several_runs_give_an_interval_to_each_owner_of_time() -> None:
    found = made.slower()
    by_name = {bucket.name: bucket for bucket in found.buckets}
    compute = by_name["compute"]
    assert compute.interval is not None
    # Welch by hand: variances of 0.25 and 0.36 ms^2 of three samples each, which makes 3.87 degrees of freedom.
    width = 3.182 * (0.25 / 3 + 0.36 / 3) ** 0.5 * MS
    assert compute.interval.high_ns - compute.change_ns == pytest.approx(width, rel=1e-6)
    assert compute.change_ns - compute.interval.low_ns == pytest.approx(width, rel=1e-6)
    single = diff([run(with_steps(100, 101, 99))], [run(with_steps(90, 91, 89))])
    assert all(bucket.interval is None for bucket in single.buckets)


def test_the_interval_covers_what_it_promises() -> None:
    numbers = np.random.default_rng(1)
    for sizes, spreads in [((3, 3), (1, 1)), ((2, 5), (1, 4)), ((10, 4), (1, 1)), ((40, 40), (3, 1))]:
        covered = 0
        for _ in range(800):
            base, head = (numbers.normal(10, spread, size) for size, spread in zip(sizes, spreads, strict=True))
            width = half_width(base.tolist(), head.tolist())
            assert width is not None
            covered += abs(float(head.mean() - base.mean())) <= width
        assert 0.93 <= covered / 800 <= 0.995, (sizes, spreads)


def test_student_quantiles_leave_a_fortieth_above_them() -> None:
    """By integrating the density, with t = tan(angle) so that the tail has an end."""
    for degrees, quantile in enumerate(STUDENT_975, 1):
        angle = np.linspace(math.atan(quantile), math.pi / 2, 20_001)[:-1]
        scale = math.gamma((degrees + 1) / 2) / (math.sqrt(degrees * math.pi) * math.gamma(degrees / 2))
        density = scale * (1 + np.tan(angle) ** 2 / degrees) ** (-(degrees + 1) / 2) / np.cos(angle) ** 2
        assert (density[1:] + density[:-1]) @ np.diff(angle) / 2 == pytest.approx(0.025, rel=2e-3), degrees


def test_no_spread_without_two_samples() -> None:
    assert half_width([1.0], [1.0, 2.0]) is None
    assert half_width([1.0, 1.0], [2.0, 2.0]) == 0


A100 = (Device(0, "NVIDIA A100", ""),)
H100 = (Device(0, "NVIDIA H100", ""),)
UNNAMED = timeline({"compute": 240 * MS}, {"data_loading": 160 * MS}, steps=4, device_name="")
HOST = UNNAMED._replace(kind="host_thread")
TWICE = (kernel(GEMM, 80, 320), kernel(ADD, 800, 120), kernel(NORM, 80, 40))
NAMED = (("a", 10, 100), ("b", 20, 40), ("c", 30, 30), ("d", 40, 20))
FOUR = [kernel(*row) for row in NAMED]
SLOWED = [(name, calls, ms * 1.1) for name, calls, ms in NAMED]
OTHER = (kernel("a", 4, 200), kernel("b", 8, 40))
SHAPES = {"aten::add": {"[[32,64]]": 40}}
OPERATORS = (Operator("aten::add", "", "", 40, 200 * MS, 0, 40),)


@pytest.mark.parametrize(
    ("base", "head", "expected"),
    [
        (run(UNNAMED, hardware=A100), run(UNNAMED, hardware=H100), ["hardware"]),
        (run(UNNAMED, hardware=A100), run(UNNAMED, hardware=()), []),
        (run(UNNAMED), run(HOST), ["devices"]),
        (run(UNNAMED), run(UNNAMED, UNNAMED._replace(id="71/1"), kernels=TWICE), ["devices"]),
        (run(world_size=8), run(world_size=2), ["devices"]),
        (run(world_size=8), run(world_size=None), []),
        (run(), run(kernels=OTHER), ["program"]),
        (run(), run(kernels=()), ["program"]),
        (run(kernels=()), run(kernels=()), []),
        (run(operators=OPERATORS, shapes=SHAPES), run(operators=OPERATORS), []),
        (
            run(operators=OPERATORS, shapes=SHAPES),
            run(operators=OPERATORS, shapes={"aten::add": {"[[64,64]]": 40}}),
            ["shapes"],
        ),
        (
            run(operators=OPERATORS, shapes={"aten::add": {f"[[{n}]]": 1 for n in range(40)}}),
            run(operators=OPERATORS, shapes={"aten::add": {f"[[{n}]]": 1 for n in range(40, 80)}}),
            [],
        ),
        (run(), run(UNNAMED._replace(steps=type(UNNAMED.steps)())), ["steps"]),
        (run(), run(kernels=(kernel(GEMM, 20, 80), kernel(ADD, 200, 30), kernel(NORM, 20, 10))), ["work"]),
        (run(), run(kernels=(kernel(GEMM, 40, 160), kernel(ADD, 200, 30), kernel(NORM, 40, 20))), []),
        (run(), Run(diagnosis(attribution(), hardware=())), ["empty"]),
    ],
)
def test_obstacles(base: Run, head: Run, expected: list[str]) -> None:
    for pair in ((base, head), (head, base)):
        found = diff([pair[0]], [pair[1]])
        assert kinds(found) == expected
        assert (found.verdict == "not_comparable") == bool(expected)
        assert found.cause is None or not expected
    if expected != ["empty"]:
        assert diff([base], [head], allow=expected).verdict != "not_comparable"
    else:
        assert diff([base], [head], allow=expected).verdict == "not_comparable"


def test_one_kernel_that_runs_less_often_is_no_other_amount_of_work() -> None:
    base = run(kernels=(kernel(GEMM, 40, 900), kernel(ADD, 400, 60), kernel(NORM, 40, 20)))
    head = run(kernels=(kernel(GEMM, 20, 450), kernel(ADD, 400, 60), kernel(NORM, 40, 20)))
    found = diff([base], [head])
    assert (found.work, found.obstacles) == (None, ())
    assert row(found, GEMM).kind == "fewer_calls"


def test_captures_of_one_duration_are_told_from_the_same_work() -> None:
    found = made.fixed_duration()
    assert kinds(found) == ["duration"]
    assert found.work == pytest.approx(0.8)
    assert found.per_call == pytest.approx(1.0)


def test_rows() -> None:
    found = made.faster()
    more, gone, new, slow = (row(found, name) for name in (GEMM, ADD, "triton_poi_fused_add_0", NORM))
    assert [part.kind for part in (more, gone, new, slow)] == ["more_calls", "removed", "added", "slower"]
    assert (more.base_calls, more.head_calls, more.calls_ns, more.cost_ns) == (10, 20, 40 * MS, 0)
    assert (slow.calls_ns, slow.cost_ns) == (0, 5 * MS)
    assert (new.base_ns, new.head_ns, new.calls_ns) == (0, MS // 2, MS // 2)
    moved = row(found, "aten::add", "operator")  # its line was moved by an edit above it
    assert (moved.kind, moved.where) == ("fewer_calls", "net.py(24): forward")
    assert list(found.rows) == sorted(found.rows, key=lambda part: -abs(part.change_ns))


def test_rows_of_a_side_without_lines_are_matched_by_name() -> None:
    placed = (
        Operator("aten::add", "nn.Module: A", "net.py(1): f", 4, 4 * MS, 0, 4),
        Operator("aten::add", "nn.Module: B", "net.py(2): g", 4, 4 * MS, 0, 4),
    )
    found = diff([run(operators=placed)], [run(operators=(Operator("aten::add", "", "", 8, 8 * MS, 0, 8),))])
    assert row(found, "aten::add", "operator").kind == "same"


def test_the_cause_is_what_moved_most_in_the_direction_of_the_change() -> None:
    found = made.faster()
    assert found.cause is not None
    assert found.cause.bucket.name == "data_loading"
    assert found.cause.row is not None
    assert found.cause.row.where == "train.py(41): <module>"


def computing(ms: int, *, communicating: int) -> Run:
    operators = [
        Operator("aten::mm", "", "net.py(7): forward", 10, ms * MS - 1, 0, 10),
        Operator("c10d::allreduce_", "", "ddp.py(1): f", 10, communicating * MS, 0, 10),
    ]
    return run(
        timeline({"compute": ms * MS}, {"python": 10 * MS}),
        kernels=(kernel(GEMM, 10, ms), kernel("nccl", 10, communicating, "communication")),
        operators=operators,
    )


def test_an_operator_names_the_line_of_what_computes_longer() -> None:
    found = diff([computing(50, communicating=20)], [computing(90, communicating=20)])
    assert found.cause is not None
    assert found.cause.row is not None
    assert (found.cause.bucket.name, found.cause.row.where) == ("compute", "net.py(7): forward")


def test_no_operator_is_named_where_communication_grew_as_much() -> None:
    found = diff([computing(50, communicating=50)], [computing(90, communicating=450)])
    assert found.cause is not None
    assert found.cause.row is not None
    assert found.cause.row.name == GEMM


def test_steps_are_aligned_by_name_or_else_by_place() -> None:
    base, head = with_steps(100, 101, 102), with_steps(90, 91, 92)
    later = head._replace(
        steps=type(head.steps)(step._replace(name=f"ProfilerStep#{4 + at}") for at, step in enumerate(head.steps))
    )
    found = diff([run(base)], [run(later)])
    assert [(pair.base, pair.base_ns, pair.head_ns) for pair in found.steps] == [
        ("ProfilerStep#4", 101 * MS, 90 * MS),
        ("ProfilerStep#5", 102 * MS, 91 * MS),
    ]
    alike = head._replace(steps=type(head.steps)(step._replace(name="step") for step in head.steps))
    found = diff([run(base)], [run(alike)])
    assert [(pair.base_ns, pair.head_ns) for pair in found.steps] == [
        (100 * MS, 90 * MS),
        (101 * MS, 91 * MS),
        (102 * MS, 92 * MS),
    ]


@pytest.mark.parametrize(
    ("base", "head", "said"),
    [
        (run(), run(), "steps of one run show how steps differ"),
        (run(with_steps(100)), run(with_steps(100)), "a single sample a side"),
        (run(UNNAMED, hardware=()), run(), "BASE does not name its device"),
        (run(), run(with_steps(100, 100)), "the means of 4 steps and of 2 steps"),
        (run(timeline({"compute": MS})), run(timeline({"compute": MS})), "no steps are marked"),
        (run(), run(format="nsight-systems"), "different profilers"),
        (run(rank=0), run(rank=3), "BASE is of rank 0 and HEAD of rank 3"),
        (run(kernels=FOUR), run(kernels=[kernel(*row) for row in SLOWED]), "nearly every kernel takes 1.10 times"),
        (
            run(operators=OPERATORS),
            run(operators=(OPERATORS[0]._replace(where="a.py(1): f"),)),
            "HEAD was recorded with Python stacks",
        ),
        (
            run(),
            run(timeline({"compute": 240 * MS}, {"data_loading": 160 * MS}, steps=4, kernel_sum_ns=500 * MS)),
            "HEAD: its tables hold the largest rows only",
        ),
        (
            run(),
            run(
                timeline(
                    {"compute": 240 * MS},
                    {"data_loading": 160 * MS},
                    steps=4,
                    confidence="low",
                    confidence_reason="why",
                )
            ),
            "HEAD: low confidence: why",
        ),
        (run(), run(defects=(Defect("truncated", 1, 5, "the file breaks off"),)), "HEAD: the file breaks off"),
    ],
)
def test_notes(base: Run, head: Run, said: str) -> None:
    assert any(note.startswith(said) or said in note for note in diff([base], [head]).notes)
