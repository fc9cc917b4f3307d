"""What is gathered for rules beside times, on traces made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from perfkit.attribute import attribute
from perfkit.attribute.loaders import period
from perfkit.attribute.shapes import flops_of
from perfkit.attribute.widths import blocks_of, leading
from perfkit.model.columns import DEFAULT_FIELDS, MEMORY_FIELDS, SIZE_FIELDS
from perfkit.model.trace import Category, Device
from tests.unit.attribute.hand_made import (
    LAUNCH,
    Row,
    annotation,
    call,
    copy,
    host,
    kernel,
    launched,
    loader,
    mark,
    operator,
    stack,
    trace,
    work,
)

if TYPE_CHECKING:
    from perfkit.model.signs import Signs

US = 1_000
MS = 1_000_000


def signs(*rows: Row, devices: tuple[Device, ...] = ()) -> Signs:
    found = attribute(trace(rows, columns=(*DEFAULT_FIELDS, *MEMORY_FIELDS), devices=devices))
    return found.signs


def on_device(names: str, at: int = 0, number: int = 1, gap: int = 0) -> list[Row]:
    """Operators one after another, each with a launch of a kernel of 30 us, which a launch takes 10 us."""
    rows = []
    for place, name in enumerate(names.split()):
        start = at + place * (40 * US + gap)
        rows.append(operator(f"aten::{name}", start, start + 20 * US))
        rows += launched(number + place, (start + 5 * US, start + 15 * US), (start + 15 * US, start + 45 * US))
    return rows


def on_thread(names: str, at: int = 0, ns: int = MS) -> list[Row]:
    """Operators one after another, of a millisecond each."""
    return [operator(f"aten::{name}", at + n * ns, at + (n + 1) * ns - US) for n, name in enumerate(names.split())]


def steps_of(*names: str, grids: dict[int, str] | None = None) -> list[Row]:
    """Steps of 400 us whose kernels are named; the grid of each kernel of a step is that of the step."""
    rows: list[Row] = []
    for step, text in enumerate(names):
        at = step * 400 * US
        rows.append(mark(step, at, at + 390 * US))
        for place, name in enumerate(text.split()):
            start, number = at + (20 + 40 * place) * US, 10 * step + place
            rows.append(call(LAUNCH, start, start + 5 * US, correlation=number))
            grid = (grids or {}).get(step, "[8, 1, 1]")
            rows.append(kernel(start + 6 * US, start + 30 * US, number, name=name, grid=grid))
    return rows


@pytest.mark.parametrize(
    ("names", "grids", "expected"),
    [
        (("a b c",) * 5, {}, (4, 4, 4)),
        (("a b c", "a b c", "a c b", "a b c", "a b"), {}, (4, 2, 2)),
        (("a b c",) * 5, {2: "[9, 1, 1]"}, (4, 4, 3)),
    ],
)
def test_steps_are_alike_that_run_the_same_kernels_with_the_same_grids(
    names: tuple[str, ...], grids: dict[int, str], expected: tuple[int, int, int]
) -> None:
    (found,) = signs(*steps_of(*names, grids=grids)).likeness
    assert (found.steps, found.same_work, found.same_sizes) == expected


def test_regions_of_compile_are_counted() -> None:
    regions = [operator(f"Torch-Compiled Region: {n}/0", n * 400 * US, n * 400 * US + US) for n in (1, 2, 3)]
    (found,) = signs(*steps_of("a", "a", "a", "a"), *regions).likeness
    assert found.compiled == 3


def reduced(number: int, start: int, ns: int, elements: int | None, stream: int = 20) -> list[Row]:
    """A launch, and a collective of so many elements."""
    fields: dict[str, int] = {} if elements is None else {"in_elements": elements}
    name = "ncclDevKernel_AllReduce"
    row = work(Category.KERNEL, name, start, start + ns, correlation=number, stream=stream, device=0, **fields)
    return [call(LAUNCH, start - 2 * US, start - US, correlation=number), row]


def meetings_of(*rows: Row) -> list[tuple[int, int, int, int]]:
    found = attribute(trace(rows, columns=(*DEFAULT_FIELDS, *SIZE_FIELDS))).signs.meetings
    return [(row.calls, row.late, row.wait_ns, row.exposed_ns) for row in found]


def test_a_collective_that_takes_far_longer_than_one_of_more_data_has_waited() -> None:
    rows = [*reduced(1, 100 * US, 50 * US, 2000), *reduced(2, 300 * US, 250 * US, 1000), *launched_at(600)]
    assert meetings_of(*rows) == [(2, 1, 200 * US, 200 * US)]


def test_of_waiting_only_what_nothing_else_hides_is_exposed() -> None:
    beside = [call(LAUNCH, 302 * US, 303 * US, correlation=3), kernel(310 * US, 410 * US, 3)]
    rows = [*reduced(1, 100 * US, 50 * US, 2000), *reduced(2, 300 * US, 250 * US, 1000), *beside, *launched_at(600)]
    assert meetings_of(*rows) == [(2, 1, 200 * US, 100 * US)]


def test_a_collective_that_moves_more_or_over_another_stream_tells_nothing() -> None:
    longer = [*reduced(1, 100 * US, 50 * US, 500), *reduced(2, 300 * US, 250 * US, 1000)]
    other = [*reduced(3, 600 * US, 50 * US, 2000, stream=21)]
    assert not meetings_of(*longer, *other, *launched_at(800))


def test_without_sizes_the_same_collective_of_other_steps_tells() -> None:
    rows: list[Row] = []
    for step, ns in enumerate((50, 50, 200, 60)):
        at = step * 400 * US
        rows += [mark(step, at, at + 390 * US), *reduced(10 * step, at + 20 * US, 30 * US, None)]
        rows += reduced(10 * step + 1, at + 100 * US, ns * US, None)
    assert meetings_of(*rows) == [(6, 1, 150 * US, 150 * US)]


def test_the_kernels_of_the_backward_pass_of_a_chain_are_known() -> None:
    rows: list[Row] = []
    for step in range(2):
        at, first = step * 2 * MS, 100 * step
        rows.append(mark(step, at, at + 2 * MS))
        for place, name in enumerate(("pow", "mean", "mul")):
            start, number = at + place * 40 * US, first + place
            rows.append(operator(f"aten::{name}", start, start + 20 * US, sequence=number))
            rows += launched(number + 1, (start + US, start + 9 * US), (start + 10 * US, start + 90 * US), name=name)
        for place, name in enumerate(("Mul", "Mean", "Pow")):
            start, number = at + MS + place * 40 * US, first + 2 - place
            node = f"autograd::engine::evaluate_function: {name}Backward0"
            rows.append(operator(node, start, start + 20 * US, thread="2", sequence=number))
            ends = (start + 10 * US, start + 90 * US)
            rows += launched(first + place + 11, (start + US, start + 9 * US), ends, thread="2", name=f"{name}_grad")
    recorded = trace(rows, columns=(*DEFAULT_FIELDS, *MEMORY_FIELDS))
    (chain,) = attribute(recorded, window="device-span").signs.chains
    names = [[recorded.strings[recorded.columns["name"][row]] for row in run] for run in chain.backward]
    assert names == [["Mul_grad", "Mean_grad", "Pow_grad"]] * 2


def launched_at(us: int) -> list[Row]:
    """A kernel, so that the window ends there."""
    return [call(LAUNCH, (us - 2) * US, (us - 1) * US, correlation=99), kernel(us * US, (us + 10) * US, 99)]


@pytest.mark.parametrize(
    ("names", "pattern", "members"),
    [
        ("mm pow mean add rsqrt mul mul mm", "rms_norm", 6),
        ("mm mean sub pow mean add sqrt div mm", "layer_norm", 7),
        ("mm pow mul add mul tanh add mul mm", "gelu", 7),
        ("mm silu mul mm", "gated", 2),
        ("mm mul sub sin mm", "pointwise", 3),
        ("mm add relu mm", "", 0),
        ("bmm mul softmax dropout bmm", "attention", 4),
        ("conv2d batch_norm relu", "batch_norm", 2),
        ("conv2d add_ batch_norm relu", "", 0),
    ],
)
def test_operators_that_could_be_one(names: str, pattern: str, members: int) -> None:
    found = signs(*on_thread(names)).chains
    assert [(row.pattern, len(row.operators)) for row in found] == ([(pattern, members)] if pattern else [])


def test_a_chain_keeps_its_longest_part_and_names_its_kernels() -> None:
    (chain,) = signs(*on_device("mm add mul relu mm add mul relu")).chains
    assert (chain.calls, chain.time_ns, chain.kept_ns, chain.launches) == (2, 180 * US, 60 * US, 6)
    assert len(chain.rows) == 6
    assert [len(run) for run in chain.kernels] == [3, 3]


def test_operators_far_apart_are_no_chain() -> None:
    assert not signs(*on_device("mm add mul relu mm", gap=400 * US)).chains


def test_the_backward_pass_of_a_chain_belongs_to_it() -> None:
    forward = [
        operator(f"aten::{name}", n * MS, (n + 1) * MS - US, sequence=n) for n, name in enumerate(("add", "mul", "sin"))
    ]
    backward = [operator("autograd::engine::evaluate_function: SinBackward0", 5 * MS, 9 * MS, sequence=2)]
    (alone,) = signs(*forward).chains
    (both,) = signs(*forward, *backward).chains
    assert both.time_ns - alone.time_ns == 4 * MS


def test_what_optimizers_and_loaders_do_is_no_chain() -> None:
    rows = on_thread("add mul sin")
    assert not signs(annotation("Optimizer.step#SGD.step", 0, 4 * MS), *rows).chains
    assert not signs(loader(0, 4 * MS), *rows).chains


@pytest.mark.parametrize(
    ("name", "style"), [("aten::mul_", "loop"), ("aten::_foreach_mul_", "foreach"), ("aten::_fused_adamw_", "fused")]
)
def test_how_an_optimizer_steps(name: str, style: str) -> None:
    rows = [
        annotation("Optimizer.step#AdamW.step", 0, 9 * MS),
        operator(name, MS, 3 * MS),
        operator(name, 4 * MS, 8 * MS),
    ]
    (update,) = signs(*rows).updates
    assert (update.name, update.style, update.calls, update.launches) == ("AdamW.step", style, 1, 2)
    assert (update.host_ns, update.time_ns, update.widest_ns) == (9 * MS, 6 * MS, 6 * MS)


def test_a_cast_is_counted_where_it_copies_and_not_where_it_moves() -> None:
    cast = [
        operator("aten::to", 0, 50 * US),
        operator("aten::copy_", US, 40 * US),
        *launched(1, (2 * US, 9 * US), (9 * US, MS)),
    ]
    nothing = [operator("aten::to", MS, 2 * MS)]
    moved = [
        operator("aten::to", 3 * MS, 4 * MS),
        operator("aten::copy_", 3 * MS + US, 4 * MS - US),
        call("cudaMemcpyAsync", 3 * MS + 2 * US, 4 * MS - 2 * US, correlation=2),
        copy(3 * MS + 5 * US, 4 * MS, 2, kind="HtoD (Pageable -> Device)"),
    ]
    (row,) = signs(*cast, *nothing, *moved).transfers
    assert (row.kind, row.operator, row.calls, row.time_ns) == ("type", "aten::to", 1, MS - 9 * US)


@pytest.mark.parametrize(
    ("around", "kind"),
    [
        (("aten::item", "aten::_local_scalar_dense"), "item"),
        (("aten::nonzero",), "nonzero"),
        (("aten::index", "aten::nonzero"), "mask"),
        (("aten::to", "aten::_to_copy", "aten::copy_"), "copy_to_host"),
        ((), "stream"),
    ],
)
def test_what_asked_for_a_wait(around: tuple[str, ...], kind: str) -> None:
    nested = [operator(name, 2 * MS + n, 5 * MS - n) for n, name in enumerate(around)]
    rows = [
        stack("train.py(8): main", 0, 9 * MS),
        *launched(1, (0, US), (US, MS)),
        *nested,
        call("cudaMemcpyAsync", 2 * MS + 20, 3 * MS, correlation=2),
        copy(2 * MS + 30, 3 * MS - 9, 2, kind="DtoH (Device -> Pageable)"),
        call("cudaStreamSynchronize", 3 * MS, 4 * MS),
        *launched(3, (6 * MS, 6 * MS + US), (6 * MS + US, 7 * MS)),
    ]
    waits = [row for row in signs(*rows).waits if row.call == "cudaStreamSynchronize"]
    assert [(row.kind, row.where, row.calls, row.blocked_ns) for row in waits] == [
        (kind if kind != "copy_to_host" else "copy_to_device", "train.py(8): main", 1, MS)
    ]
    copies = [row for row in signs(*rows).waits if row.call == "cudaMemcpyAsync"]
    assert [row.kind for row in copies] == [kind if around else "copy_to_host"]


def test_a_tensor_that_is_printed_says_so() -> None:
    rows = [
        *launched(1, (0, US), (US, MS)),
        stack("torch/_tensor_str.py(700): _str", 2 * MS, 6 * MS),
        operator("aten::item", 3 * MS, 5 * MS),
        call("cudaStreamSynchronize", 3 * MS + US, 4 * MS),
        *launched(2, (6 * MS, 6 * MS + US), (6 * MS + US, 7 * MS)),
    ]
    assert [row.kind for row in signs(*rows).waits] == ["print"]


def test_a_loader_with_workers_that_start_anew() -> None:
    step, rows = 20 * MS, []
    for number in range(8):
        at = number * step
        if number == 4:  # a new iterator draws its seed, starts its workers, and waits for the first batch
            rows += [operator("aten::random_", at, at + US), operator("aten::item", at + 2 * US, at + 3 * US)]
            rows.append(loader(at + 5 * MS, at + 15 * MS, workers=True))
        else:
            rows.append(loader(at, at + MS, workers=True))
        rows.append(operator("aten::mm", at + 16 * MS, at + 19 * MS))
    (found,) = signs(*rows).loaders
    assert (found.kind, found.calls, found.epochs, found.making_ns, found.startup_ns) == (
        "workers",
        8,
        1,
        5 * MS,
        14 * MS,
    )
    assert found.late_ns == 0


def test_ending_workers_is_part_of_starting_others_and_epochs_of_workers_that_stay_begin_too() -> None:
    def epochs(ended_ns: int, *made: Row) -> list[Row]:
        rows = list(made)
        for number in range(8):
            at = number * 20 * MS
            rows += [loader(at, at + MS, workers=True)]
            rows += [operator("aten::mm", at + (n + 2) * MS, at + (n + 2) * MS + US) for n in range(5)]
        # After the fourth batch the loader is asked in vain, and then for the first batch of another epoch.
        return [*rows, loader(70 * MS, 70 * MS + ended_ns, workers=True)]

    (stays,) = signs(*epochs(US)).loaders
    assert (stays.epochs, stays.late_ns, stays.waited_ns) == (0, 0, 7 * MS)
    seed = operator("aten::random_", 76 * MS, 76 * MS + US)
    (ends,) = signs(*epochs(5 * MS, seed)).loaders
    assert (ends.epochs, ends.making_ns, ends.startup_ns) == (1, 9 * MS, 9 * MS)


@pytest.mark.parametrize(("name", "late"), [("poll of select.poll", (16, 40)), ("recv of socket", (16, 24))])
def test_where_a_thread_is_seen_to_wait_only_that_is_late(name: str, late: tuple[int, int]) -> None:
    def late_of(took_ms: int) -> int:
        rows = []
        for number in range(8):
            at = number * 20 * MS
            rows += [loader(at, at + 6 * MS, workers=True), operator("aten::mm", at + 9 * MS, at + 19 * MS)]
            rows += [stack(f"<built-in method {name} object at 0x7f>", at + MS, at + (1 + took_ms) * MS)]
        (found,) = signs(*rows).loaders
        assert (found.idling_ns, found.waited_ns) == (8 * took_ms * MS, 48 * MS)
        return found.late_ns // MS

    assert (late_of(2), late_of(5)) == late  # to receive five milliseconds long may be part of taking a batch over


def test_steps_with_a_beginning_are_compared_with_the_others() -> None:
    lengths, rows, at = [20, 20, 20, 50, 20, 20, 48, 20], [], 0
    for number, length in enumerate(lengths):
        rows += [mark(number, at, at + length * MS), operator("aten::mm", at + 15 * MS, at + 19 * MS)]
        if length > 20:
            rows.append(operator("aten::random_", at, at + US))
        rows.append(loader(at + 5 * MS, at + 6 * MS, workers=True))
        at += length * MS
    (found,) = signs(*rows).loaders
    assert (found.epochs, found.longer_ns) == (2, 58 * MS)


def test_a_shuffled_epoch_with_workers_that_stay_starts_none() -> None:
    rows = [loader(n * 20 * MS, n * 20 * MS + MS, workers=True) for n in range(6)]
    rows += [operator("aten::random_", 55 * MS, 55 * MS + US), operator("aten::randperm", 55 * MS + 2 * US, 56 * MS)]
    rows += [operator("aten::mm", n * 20 * MS + 2 * MS, n * 20 * MS + 9 * MS) for n in range(6)]
    (found,) = signs(*rows).loaders
    assert found.epochs == 0


def test_stalls_that_come_in_turn() -> None:
    rows = []
    for number in range(16):
        took = 15 * MS if number % 4 == 0 else MS
        rows += [loader(number * 20 * MS, number * 20 * MS + took, workers=True)]
        rows += [operator("aten::mm", number * 20 * MS + 16 * MS, number * 20 * MS + 19 * MS)]
    (found,) = signs(*rows).loaders
    assert (found.period, found.stalled, found.stalled_ns, found.late_ns) == (4, 4, 56 * MS, 56 * MS)
    assert period(np.array([True, False, False, True, True, False, False, False, False, True])) == 0


def test_short_operators_and_long_silences_of_a_thread() -> None:
    short = [operator("aten::item", n * 8 * US, n * 8 * US + 4 * US) for n in range(50)]
    late = operator("aten::mm", 10 * MS, 20 * MS)
    found = {row.kind: row for row in signs(*short, late).stretches}
    assert (found["short_operators"].operators, found["short_operators"].reads) == (50, 50)
    assert found["short_operators"].ns == 49 * 8 * US + 4 * US
    assert found["no_operator"].ns == 10 * MS - (49 * 8 * US + 4 * US)
    assert not signs(*on_device("mm mm")).stretches


def test_a_loop_has_what_takes_its_tensor_apart_and_an_operator_that_is_held_up_once() -> None:
    pieces = [operator("aten::select", n * US, n * US + 500) for n in range(50)]
    apart = operator("aten::unbind", 0, 60 * US)
    loop = [operator("aten::relu", 110 * US + n * 8 * US, 110 * US + n * 8 * US + 4 * US) for n in range(50)]
    loop[20] = operator("aten::relu", 270 * US, 277 * US)
    joined = operator("aten::stack", 560 * US, 660 * US)
    (found,) = signs(apart, *pieces, *loop, joined, operator("aten::mm", 800 * US, 2 * MS)).stretches
    assert (found.ns, found.operators, found.records) == (660 * US, 52, 102)


@pytest.mark.parametrize(
    ("called", "named", "doing"),
    [
        ("<built-in function collect>", "<built-in function collect>", "collecting"),
        (
            "<built-in method acquire of _thread.lock object at 0x7f7a>",
            "<built-in method acquire of _thread.lock>",
            "idling",
        ),
        (
            "torch/_tensor_str.py(295): _tensor_str_with_formatter",
            "torch/_tensor_str.py(295): _tensor_str_with_formatter",
            "print",
        ),
        ("numpy/linalg/_linalg.py(1681): svd", "numpy/linalg/_linalg.py(1681): svd", ""),
    ],
)
def test_what_a_line_calls_for_most_of_a_silence(called: str, named: str, doing: str) -> None:
    rows = [operator("aten::mm", 0, MS), operator("aten::mm", 9 * MS, 10 * MS), stack("train.py(3): hook", 0, 10 * MS)]
    (found,) = signs(*rows, stack(called, 2 * MS, 8 * MS)).stretches
    assert (found.where, found.names, found.doing) == ("train.py(3): hook", (named,), doing)
    for brief in (stack(called, 2 * MS, 5 * MS), stack("main.py(1): main", 0, 10 * MS)):
        assert signs(*rows, brief).stretches[0].names == ()


def test_a_clone_is_no_change_of_layout() -> None:
    rows = [
        operator("aten::clone", 0, MS),
        operator("aten::contiguous", MS, 2 * MS),
        operator("aten::copy_", 10, MS - 10),
        operator("aten::copy_", MS + 10, 2 * MS - 10),
    ]
    assert {row.operator: row.kind for row in signs(*rows).transfers} == {
        "aten::clone": "copy",
        "aten::contiguous": "layout",
    }


def test_python_goes_on_over_a_brief_operator() -> None:
    rows = [operator("aten::mm", 0, MS), operator("aten::empty", 5 * MS, 5 * MS + 3 * US)]
    (found,) = signs(*rows, operator("aten::mm", 5 * MS + 203 * US, 9 * MS)).stretches
    assert (found.calls, found.ns) == (1, 4 * MS + 200 * US)


def test_how_closely_events_are_written_down() -> None:
    rows = [operator("aten::relu", n * 400, n * 400 + 100) for n in range(200)]
    (work,) = signs(*rows, operator("aten::mm", MS, 2 * MS)).works
    assert (work.records, work.record_ns) == (201, 400)
    assert signs(*on_device("mm mm")).works[0].records == 0


def test_at_which_rate_matrices_are_multiplied() -> None:
    product = operator("aten::mm", 0, MS, shapes="[[10, 100], [100, 1000]]")
    (width,) = signs(product, operator("aten::relu", MS, 2 * MS)).widths
    assert width.flops_per_s == pytest.approx(2e9)


@pytest.mark.parametrize(
    ("said", "rate"),
    [({"flops_per_s": 80e9}, 80e9), ({"flops_per_s": 80}, 80), ({}, 0), ([], 0), ("fast", 0)]
    + [({"flops_per_s": wrong}, 0) for wrong in ("80e9", None, -1, 0, float("inf"), float("nan"), [80e9])],
)
def test_what_a_processor_comes_to_is_what_the_recording_says(said: Any, rate: float) -> None:
    product = operator("aten::mm", 0, MS, shapes="[[10, 100], [100, 1000]]")
    (width,) = attribute(replace(trace([product]), header={"perfkitProcessor": said})).signs.widths
    assert width.peak_flops_per_s == rate


@pytest.mark.parametrize(
    ("name", "shapes", "expected"),
    [
        ("mm", "[[10, 100], [100, 1000]]", 2e6),
        ("addmm", "[[1000], [10, 100], [100, 1000], [], []]", 2e6),
        ("matmul", "[[2, 4, 10, 100], [2, 4, 100, 1000]]", 16e6),
        ("matmul", "[[10, 100], [4, 100, 1000]]", 8e6),
        ("baddbmm", "[[4, 10, 1000], [4, 10, 100], [4, 100, 1000]]", 8e6),
        ("matmul", "[[100], [100]]", 0),
        ("mm", "[[10, 100], [99, 1000]]", 0),
        ("mm", f"[[{10**200}, {10**200}], [{10**200}, 0]]", 0),
        ("mm", f"[[{10**200}, {10**200}], [{10**200}, 1]]", 0),
        *(("mm", text, 0) for text in ("", "{}", "[1, 2]", "[[], []]", "[[10, 100]]", '[["a", 1], [1, 2]]')),
    ],
)
def test_operations_of_a_product(name: str, shapes: str, expected: float) -> None:
    assert flops_of(f"aten::{name}", shapes) == pytest.approx(expected)


def test_operations_of_attention_count_what_a_fused_backward_pass_computes_again() -> None:
    first, second = "[[4, 8, 2], [4, 2, 8]]", "[[4, 8, 8], [4, 8, 2]]"
    rows = [
        operator("aten::bmm", 0, MS, sequence=0, shapes=first),
        operator("aten::softmax", MS, 2 * MS, sequence=1),
        operator("aten::bmm", 2 * MS, 3 * MS, sequence=2, shapes=second),
    ]
    backward = [
        operator(f"autograd::engine::evaluate_function: {name}Backward0", at * MS, (at + 1) * MS, sequence=number)
        for at, (number, name) in enumerate(((2, "Bmm"), (1, "Softmax"), (0, "Bmm")), 4)
    ]
    (serving,), (training,) = signs(*rows).chains, signs(*rows, *backward).chains
    assert serving.flops == 2 * 2 * 4 * 8 * 8 * 2
    assert training.flops == 3.5 * serving.flops


def test_what_of_a_chain_moves_data_is_apart_from_arithmetic() -> None:
    rows = [operator("aten::add", 0, MS), operator("aten::tanh", MS, 9 * MS), operator("aten::mul", 9 * MS, 12 * MS)]
    (chain,) = signs(*rows).chains
    assert (chain.kept_ns, chain.arithmetic_ns, chain.moving_ns) == (8 * MS, 8 * MS, 3 * MS)


def test_between_requests_there_is_nothing_to_be_silent_about() -> None:
    before, after = operator("aten::mm", 0, MS), operator("aten::mm", 19 * MS, 20 * MS)
    requests = [annotation("perfkit.request", 0, 4 * MS), annotation("perfkit.request", 17 * MS, 20 * MS)]
    (one,) = signs(before, after).stretches
    assert (one.kind, one.calls, one.ns) == ("no_operator", 1, 18 * MS)
    (one,) = signs(before, after, *requests).stretches  # 1 to 4 and 17 to 19 ms: within requests
    assert (one.kind, one.calls, one.ns) == ("no_operator", 2, 5 * MS)
    beside = annotation("perfkit.request", 0, 20 * MS, process="10")  # what another process serves says nothing
    (one,) = signs(before, after, *requests, beside).stretches
    assert one.ns == 5 * MS


def test_what_loads_or_was_recorded_for_itself_is_no_silence() -> None:
    before, after = operator("aten::mm", 0, MS), operator("aten::mm", 9 * MS, 10 * MS)
    assert [row.kind for row in signs(before, after).stretches] == ["no_operator"]
    assert not signs(before, loader(MS, 9 * MS), after).stretches
    assert not signs(before, host(Category.OVERHEAD, "Buffer flush", MS, 9 * MS), after).stretches


def test_width_of_kernels_and_batches() -> None:
    device = (Device(0, "NVIDIA A100", "", {"numSms": 108, "computeMajor": 8}),)
    rows = [
        operator("aten::linear", 0, 50 * US, shapes="[[4, 64, 512], [512, 512], []]"),
        call(LAUNCH, US, 2 * US, correlation=1),
        kernel(2 * US, MS, 1, grid="[10, 2, 1]", name="ampere_sgemm_32x32_nn"),
        call(LAUNCH, 3 * US, 4 * US, correlation=2),
        kernel(MS, 4 * MS, 2, grid="[400, 1, 1]"),
    ]
    (width,) = signs(*rows, devices=device).widths
    assert (width.processors, width.capability, width.batch) == (108, 8, 256)
    assert (width.kernel_ns, width.narrow_ns) == (4 * MS - 2 * US, MS - 2 * US)
    assert (width.full_precision_ns, width.full_precision) == (MS - 2 * US, ("ampere_sgemm_32x32_nn",))


@pytest.mark.parametrize(
    ("name", "shapes", "rows"),
    [
        ("aten::addmm", "[[8], [16, 8], [8, 8]]", 16),
        ("aten::conv2d", "[[2, 3, 5, 7], [9, 3, 1, 1]]", 70),
        ("aten::linear", "[[512], [8, 512]]", 512),
        ("aten::linear", "[]", 0),
        ("aten::linear", "nonsense", 0),
        ("aten::linear", '[{"a": 1}]', 0),
        ("aten::add", "[[8, 8]]", 0),
    ],
)
def test_rows_of_matrix_work(name: str, shapes: str, rows: int) -> None:
    assert leading(name, shapes) == rows


@pytest.mark.parametrize(
    ("grid", "blocks"), [("[2, 3, 4]", 24), ("[]", 0), ("[1e400]", 0), ('["a"]', 0), ("{", 0), ("7", 0)]
)
def test_blocks_of_a_grid(grid: str, blocks: int) -> None:
    assert blocks_of(grid) == blocks


def test_memory_that_is_freed_and_asked_for_again() -> None:
    def allocating(at: int, *names: str) -> list[Row]:
        calls = [call(name, at + n * US, at + (n + 1) * US) for n, name in enumerate(names)]
        return [operator("aten::empty", at, at + 9 * US), *calls]

    again = allocating(MS, "cudaMalloc", "cudaFree", "cudaFree", "cudaMalloc")
    first = allocating(2 * MS, "cudaFree", "cudaMalloc")
    peak = host(Category.MEMORY, "[memory]", 3 * MS, 3 * MS, device=0, total_allocated=700, total_reserved=900)
    device = (Device(0, "NVIDIA A100", "", {"totalGlobalMem": 1000}),)
    work = [*launched(1, (0, US), (US, MS)), *launched(2, (4 * MS, 4 * MS + US), (4 * MS + US, 5 * MS))]
    (memory,) = signs(*work, *again, *first, peak, devices=device).memory
    assert (memory.allocations, memory.retries, memory.retry_ns) == (3, 1, 4 * US)
    assert (memory.allocated, memory.reserved, memory.capacity) == (700, 900, 1000)


def test_requests_and_training() -> None:
    rows = [annotation("perfkit.request", n * 4 * MS, n * 4 * MS + 3 * MS) for n in range(3)]
    rows += [operator("aten::mm", n * 4 * MS, n * 4 * MS + MS) for n in range(3)]
    (work,) = signs(*rows).works  # the first request is taken for a warm-up
    assert (work.requests, work.request_ns, work.waiting_ns, work.together) == (2, 6 * MS, MS, 1)
    assert not work.backward
    (training,) = signs(mark(1, 0, 9 * MS), operator("MmBackward0", 0, MS)).works
    assert training.backward
