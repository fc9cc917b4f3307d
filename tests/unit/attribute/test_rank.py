"""The summary of one rank: its runs of collectives, the time between them, and tables cut without losing a sum."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from perfkit.attribute import attribute, collective_runs, shorten, summarise_rank, summarise_ranks
from perfkit.attribute.collective_labels import parse_ranks
from perfkit.model.columns import COLLECTIVE_FIELDS, DEFAULT_FIELDS
from perfkit.model.fleet import COLLECTIVE_KINDS, OTHER_ROW, CollectiveRuns, ProcessGroup, RankSummary
from tests.unit.attribute.hand_made import Row, annotation, call, copy, kernel, launched, operator, trace

if TYPE_CHECKING:
    from perfkit.model.trace import Trace

FIELDS = (*DEFAULT_FIELDS, *COLLECTIVE_FIELDS)
NCCL = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)"
SEND_RECV = "ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t(ncclDevComm*, unsigned long, ncclWork*)"
GENERIC = "ncclDevKernel_Generic(ncclDevKernelArgsStorage<4096ul>)"


def runs_of(rows: list[Row]) -> CollectiveRuns:
    """The runs of a trace of one rank, which hold together."""
    summary = summarise_rank(trace(rows, columns=FIELDS))
    check(summary)
    return summary.collectives


def check(summary: RankSummary) -> None:
    """What holds of every summary."""
    runs = summary.collectives
    line = next(line for line in summary.attribution.timelines if line.id == summary.timeline)
    assert int(runs.exposed_ns.sum()) + runs.left_out_exposed_ns == line.busy["exposed_communication"]
    assert (runs.since_ns >= 0).all()
    if len(runs.start_ns):
        assert (runs.since_ns[1:].sum(axis=1) == np.diff(runs.start_ns)).all()
    length = np.clip(runs.piece_end_ns, line.start_ns, line.end_ns) - np.clip(
        runs.piece_start_ns, line.start_ns, line.end_ns
    )
    assert np.bincount(runs.piece_run, length, len(runs.start_ns)).tolist() == runs.exposed_ns.tolist()
    assert (runs.piece_start_ns[1:] >= runs.piece_end_ns[:-1]).all()
    assert (np.diff(runs.start_ns) >= 0).all()


def with_fields(row: Row, fields: dict[str, int | str]) -> Row:
    """A row with more fields."""
    return dataclasses.replace(row, fields={**row.fields, **fields})


def names(runs: CollectiveRuns) -> list[str]:
    """The kinds of the runs."""
    return [COLLECTIVE_KINDS[kind] for kind in runs.kind.tolist()]


def test_times_between_runs_are_cut_at_their_starts() -> None:
    rows = [
        *launched(1, (0, 10), (20, 100)),
        *launched(2, (10, 20), (130, 200), name=NCCL, stream=9),
        *launched(3, (205, 250), (260, 300)),
        *launched(4, (250, 255), (280, 400), name=NCCL, stream=9),
    ]
    runs = runs_of(rows)
    assert runs.start_ns.tolist() == [130, 280]
    first, second = (dict(zip(runs.buckets, row, strict=True)) for row in runs.since_ns.tolist())
    assert first["compute"] == 80
    assert sum(first.values()) == 130 - 20
    assert (second["exposed_communication"], second["compute"]) == (70, 20)
    assert runs.exposed_ns.tolist() == [70, 100]
    assert runs.piece_start_ns.tolist() == [130, 300]


def test_of_runs_that_overlap_the_first_owns_the_time() -> None:
    runs = runs_of(
        [kernel(0, 100, name=NCCL), kernel(40, 150, name=NCCL, stream=8), kernel(50, 60, name=NCCL, stream=9)]
    )
    assert runs.exposed_ns.tolist() == [100, 50, 0]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (NCCL, "all_reduce"),
        ("ncclKernel_ReduceScatter_RING_LL_Sum_float(ncclWorkElem)", "reduce_scatter"),
        ("ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<4096ul>)", "all_gather"),
        ("ncclKernel_Broadcast_RING_LL_Sum_int8_t(ncclWorkElem)", "broadcast"),
        ("ncclDevKernel_Reduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)", "reduce"),
        (SEND_RECV, "send_recv"),
        (GENERIC, "unknown"),
        ("void vllm::cross_device_reduce_1stage<__nv_bfloat16, 2>(vllm::RankData*)", "all_reduce"),
        ("void (anonymous namespace)::multimem_all_reduce_kernel<c10::BFloat16, 16>(int)", "all_reduce"),
    ],
)
def test_kinds_by_the_names_of_kernels(name: str, kind: str) -> None:
    assert names(runs_of([kernel(0, 10, name=name)])) == [kind]


@pytest.mark.parametrize(
    ("said", "kind"),
    [("allreduce", "all_reduce"), ("_allgather_base", "all_gather"), ("all_to_allv", "all_to_all"),
     ("reduce_scatter_tensor_coalesced", "reduce_scatter"), ("barrier", "barrier"), ("send", "send"),
     ("all_reduce_barrier", "barrier"), ("recv", "recv"), ("gather", "gather"), ("scatter", "scatter")],
)  # fmt: skip
def test_the_arguments_of_a_kernel_come_first(said: str, kind: str) -> None:
    fields: dict[str, int | str] = {"collective": said, "group_name": "3", "group_description": "mesh_tp"}
    fields |= {"group_ranks": '"[4, 0]"', "group_size": 2, "group_sequence": 41}
    fields |= {"in_elements": 10, "out_elements": 20, "element_type": "BFloat16"}
    runs = runs_of([with_fields(kernel(0, 10, name=GENERIC), fields)])
    assert names(runs) == [kind]
    assert runs.groups == (ProcessGroup("3", "mesh_tp", 2, (0, 4)),)
    assert (runs.bytes.tolist(), runs.sequence.tolist()) == ([40], [41])


def test_then_those_of_the_operator_that_launched_it() -> None:
    comms = operator("record_param_comms", 0, 100, collective="allreduce", group_name="7", in_elements=3)
    runs = runs_of([comms, *launched(1, (10, 20), (30, 40), name=GENERIC)])
    assert names(runs) == ["all_reduce"]
    assert runs.groups[0].name == "7"
    assert runs.bytes.tolist() == [-1]  # the type of its elements is not known


def test_then_the_range_around_the_launch() -> None:
    rows = [annotation("nccl:all_to_all", 0, 100), *launched(1, (10, 20), (30, 40), name=SEND_RECV)]
    rows += [annotation("my all_gather", 200, 300), *launched(2, (210, 220), (230, 240), name=SEND_RECV)]
    assert names(runs_of(rows)) == ["all_to_all", "send_recv"]


def test_copies_between_devices_are_no_collectives() -> None:
    rows = [copy(0, 10, kind="PtoP (Device -> Device)"), kernel(20, 30)]
    assert names(runs_of(rows)) == ["peer_copy"]


@pytest.mark.parametrize(
    ("text", "ranks"),
    [("[0, 1]", (0, 1)), ('"[3,1]"', (1, 3)), ("[0, 1, ..., 9]", ()), ("", ()), ("[]", ()), ("[-1]", ()), ("{}", ())],
)
def test_lists_of_ranks(text: str, ranks: tuple[int, ...]) -> None:
    assert parse_ranks(text) == ranks


def test_a_list_that_is_not_of_the_size_of_the_group_is_not_believed() -> None:
    runs = runs_of([kernel(0, 9, name=NCCL, collective="allreduce", group_ranks="[0, 1]", group_size=3)])
    assert runs.groups == (ProcessGroup("", "", 3, ()),)


def test_hostile_sizes_are_unknown() -> None:
    fields: dict[str, int | str] = {"collective": "allreduce", "element_type": "Double", "in_elements": 2**62}
    fields |= {"group_size": 2**31 - 1, "group_sequence": -5}
    runs = runs_of([with_fields(kernel(0, 9, name=NCCL), fields)])
    assert (runs.bytes.tolist(), runs.sequence.tolist(), runs.groups[0].size) == ([-1], [-1], 2**31 - 1)


def test_without_the_fields_or_runs() -> None:
    plain = summarise_rank(trace([kernel(0, 9, name=NCCL)]))
    check(plain)
    assert plain.collectives.groups == (ProcessGroup("", "", 0, ()),)
    none = summarise_rank(trace([kernel(0, 9)]))
    check(none)
    assert len(none.collectives.start_ns) == 0
    assert (none.collectives.window_start_ns, none.collectives.window_end_ns) == (0, 9)
    empty = summarise_rank(trace([]))
    assert (empty.timeline, empty.rank) == ("", None)
    host_only = summarise_rank(trace([operator("aten::add", 0, 10)]))
    assert host_only.attribution.timelines[0].kind == "host_thread"


def two_processes() -> Trace:
    """Two processes with a device each."""
    rows = [*launched(1, (0, 10), (20, 30), process="8", device=1), kernel(40, 50, 2, name=NCCL, device=1)]
    rows += [call("cudaLaunchKernel", 5, 6, correlation=2, process="8")]
    rows += [
        *launched(3, (0, 10), (20, 30), process="9", device=0),
        *launched(4, (31, 32), (45, 47), process="9", name=NCCL),
    ]
    return trace(rows, columns=FIELDS)


def test_each_process_with_device_work_is_a_rank() -> None:
    one, other = summarise_ranks(dataclasses.replace(two_processes(), rank=3))
    assert [one.process, other.process] == ["9", "8"]
    assert [one.rank, other.rank] == [None, None]  # the header's is that of one of them: of which, it does not say
    for summary in (one, other):
        check(summary)
        assert [line.process for line in summary.attribution.timelines] == [summary.process]
    whole = attribute(two_processes())
    assert {line.id for line in whole.timelines} == {one.timeline, other.timeline}


def test_a_process_that_communicates_on_two_devices_is_two_ranks_unless_the_trace_has_one() -> None:
    rows = [kernel(0, 9, name=NCCL, device=0), kernel(0, 9, name=NCCL, device=1), kernel(20, 30, name=NCCL, device=1)]
    found = summarise_ranks(trace(rows))
    assert [summary.timeline for summary in found] == ["?/gpu0", "?/gpu1"]
    (one,) = summarise_ranks(dataclasses.replace(trace(rows), rank=0))
    assert one.timeline == "?/gpu1"
    assert len(one.attribution.timelines) == 2


def test_runs_beyond_the_limit_are_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collective_runs, "MOST_RUNS", 3)
    runs = runs_of([kernel(10 * n, 10 * n + 5 + n, name=NCCL) for n in range(5)])
    assert (len(runs.start_ns), runs.left_out, runs.left_out_exposed_ns) == (3, 2, 8 + 9)


def test_pieces_beyond_the_limit_are_moved_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collective_runs, "MOST_PIECES", 4)
    rows = [kernel(0, 1000, name=NCCL, stream=9), *(kernel(10 * n, 10 * n + 4) for n in range(1, 90))]
    runs = runs_of(rows)
    assert len(runs.piece_run) <= 5
    assert runs.exposed_ns.tolist() == [1000 - 89 * 4]


def test_tables_are_cut_and_their_sums_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shorten, "MOST_ROWS", 3)
    monkeypatch.setattr(shorten, "MOST_TEXT", 8)
    rows = [operator(f"aten::a_long_name_{n}", 10 * n, 10 * n + 9) for n in range(8)]
    for n in range(8):
        rows += launched(n + 1, (10 * n, 10 * n + 2), (100 + 10 * n, 105 + 10 * n), name=f"kernel_with_name_{n}")
    rows += [copy(300 + 10 * n, 301 + 10 * n, kind=f"DtoD {n}", bytes=n) for n in range(8)]
    whole, short = attribute(trace(rows)), summarise_rank(trace(rows)).attribution
    for table in ("operators", "kernels", "copies"):
        full, cut = getattr(whole, table), getattr(short, table)
        assert len(full) > len(cut) == 4
        last = cut[-1]
        assert (last.name if table != "copies" else last.kind) == OTHER_ROW
        assert sum(row.device_ns for row in cut) == sum(row.device_ns for row in full)
        assert sum(row.calls for row in cut) == sum(row.calls for row in full)
        assert all(len(row[0]) <= 8 or row[0] == OTHER_ROW for row in cut)


def test_many_steps_become_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shorten, "MOST_STEPS", 2)
    rows = []
    for n in range(6):
        rows += [annotation(f"ProfilerStep#{n}", 100 * n, 100 * n + 99)]
        rows += launched(n + 1, (100 * n + 1, 100 * n + 3), (100 * n + 10, 100 * n + 50))
    line = summarise_rank(trace(rows)).attribution.timelines[0]
    assert [step.name for step in line.steps] == ["ProfilerStep#1", "ProfilerStep#2", OTHER_ROW]
    assert (line.steps[0].start_ns, line.steps[-1].end_ns) == (line.start_ns, line.end_ns)
    for step in line.steps:
        assert sum(step.busy.values()) + sum(step.idle.values()) == step.end_ns - step.start_ns
    assert sum(step.busy["compute"] for step in line.steps) == line.busy["compute"]
