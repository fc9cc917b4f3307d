"""Device time by operator, module and Python line."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from perfkit.attribute import attribute
from tests.unit.attribute.hand_made import LAUNCH, Row, call, kernel, launched, mark, operator, stack, trace

if TYPE_CHECKING:
    import pytest

    from perfkit.model.attribution import Operator
    from perfkit.model.table import Table


def found(rows: list[Row]) -> Table[Operator]:
    return attribute(trace(rows), window="device-span").operators


def test_the_innermost_operator_around_a_launch_owns_what_it_launched() -> None:
    rows = [
        operator("aten::linear", 0, 50),
        operator("aten::addmm", 10, 30),
        *launched(1, (12, 13), (60, 70)),
        call("cudaGraphLaunch", 20, 22, correlation=2),
        kernel(70, 75, 2),
        kernel(75, 90, 2),
        *launched(3, (40, 41), (90, 91)),
        *launched(4, (55, 56), (91, 93)),
    ]
    assert [(row.name, row.calls, row.device_ns, row.host_ns, row.launches) for row in found(rows)] == [
        ("aten::addmm", 1, 30, 20, 2),
        ("(outside operators)", 1, 2, 0, 1),
        ("aten::linear", 1, 1, 50, 1),
    ]


def test_an_operator_whose_launches_lie_in_several_blocks_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("perfkit.attribute.operators"), "BLOCK", 2)
    rows = [
        operator("aten::linear", 0, 90),
        *[row for n in range(5) for row in launched(n, (10 * n, 10 * n + 1), (100 + 10 * n, 103 + 10 * n))],
    ]
    assert [(row.calls, row.device_ns, row.host_ns, row.launches) for row in found(rows)] == [(1, 15, 90, 5)]


def test_operators_of_one_name_are_one() -> None:
    rows = [
        *[operator("aten::mul", 10 * n, 10 * n + 5) for n in range(3)],
        *[row for n in range(3) for row in launched(n, (10 * n + 1, 10 * n + 2), (100 + 10 * n, 104 + 10 * n))],
    ]
    assert [(row.name, row.calls, row.device_ns, row.host_ns) for row in found(rows)] == [("aten::mul", 3, 12, 15)]


def test_a_launch_at_an_operators_end_is_not_inside_it() -> None:
    rows = [operator("aten::mul", 0, 5), *launched(1, (5, 6), (10, 20))]
    assert [row.name for row in found(rows)] == ["(outside operators)"]


def test_modules_and_lines_by_the_stack() -> None:
    rows = [
        stack("train.py(10): step", 0, 100),
        stack("nn.Module: Net_0", 5, 95),
        stack("model.py(20): forward", 6, 94),
        stack("torch/nn/modules/module.py(1501): _call_impl", 7, 93),
        stack("nn.Module: Linear_1", 10, 30),
        stack("nn.Module: Linear_2", 40, 60),
        operator("aten::linear", 12, 28),
        operator("aten::linear", 42, 58),
        operator("aten::relu", 70, 80),
        *launched(1, (15, 16), (100, 110)),
        *launched(2, (45, 46), (110, 120)),
        *launched(3, (75, 76), (120, 121)),
    ]
    assert [(row.name, row.module, row.where, row.calls, row.device_ns) for row in found(rows)] == [
        ("aten::linear", "Linear", "model.py(20): forward", 2, 20),
        ("aten::relu", "Net", "model.py(20): forward", 1, 1),
    ]


def test_a_backward_operator_takes_the_module_of_its_forward() -> None:
    rows = [
        stack("nn.Module: Linear_1", 0, 20),
        operator("aten::linear", 5, 15, sequence=42),
        operator("autograd::engine::evaluate_function: AddmmBackward0", 100, 150, thread="2", sequence=42),
        operator("aten::mm", 110, 120, thread="2"),
        *launched(1, (112, 113), (130, 140), thread="2"),
        operator("AccumulateGrad", 160, 170, thread="2"),
        *launched(2, (162, 163), (170, 175), thread="2"),
    ]
    assert [(row.name, row.module) for row in found(rows)] == [("aten::mm", "Linear"), ("AccumulateGrad", "")]


def test_lines_by_recorded_call_stacks() -> None:
    frames = "site-packages/torch/nn/functional.py(3): linear;model.py(20): forward;train.py(10): step"
    rows = [operator("aten::linear", 0, 50, call_stack=frames), *launched(1, (12, 13), (60, 70))]
    assert [row.where for row in found(rows)] == ["model.py(20): forward"]


def test_only_what_starts_in_the_window_counts() -> None:
    rows = [
        mark(1, 0, 20),
        operator("aten::warm", 0, 5),
        *launched(1, (1, 2), (5, 9)),
        mark(2, 20, 40),
        operator("aten::mul", 20, 25),
        *launched(2, (21, 22), (25, 30)),
    ]
    assert [row.name for row in attribute(trace(rows)).operators] == ["aten::mul"]


def test_work_without_a_launch_is_no_operators() -> None:
    assert found([operator("aten::mul", 0, 50), kernel(10, 20, 7), call(LAUNCH, 1, 2, correlation=8)]) == ()
