from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.attribute import attribute, examine
from perfkit.attribute.picture import MOST_ELEMENTS, depict
from perfkit.attribute.thin import thin
from perfkit.model.picture import KINDS, Flame, Picture
from perfkit.model.trace import Category
from tests.unit.attribute.hand_made import (
    MS,
    annotation,
    call,
    kernel,
    launched,
    loader,
    mark,
    operator,
    stack,
    trace,
)

if TYPE_CHECKING:
    from perfkit.model.trace import Trace


US = 1_000


def paths(flame: Flame, picture: Picture) -> dict[str, int]:
    """Every frame with time of its own, as a path, and that time."""
    found: list[str] = []
    for parent, name in zip(flame.parent.tolist(), flame.name.tolist(), strict=True):
        found.append(f"{found[parent]}/{picture.names[name]}" if parent >= 0 else picture.names[name])
    return {path: ns for path, ns in zip(found, flame.self_ns.tolist(), strict=True) if ns}


def flame(picture: Picture, by: str, measure: str) -> dict[str, int]:
    (found,) = [one for one in picture.flames if (one.by, one.measure) == (by, measure)]
    return paths(found, picture)


def program() -> Trace:
    """Two layers in two steps; the second one's kernel waits for a loader."""
    rows = []
    for step in range(2):
        at = step * 10 * MS
        rows += [
            mark(step, at, at + 10 * MS),
            stack("train.py(3): main", at, at + 9 * MS),
            loader(at, at + 3 * MS),
            stack("nn.Module: Net_0", at + 3 * MS, at + 8 * MS),
            stack("/site-packages/torch/nn.py(9): forward", at + 3 * MS, at + 8 * MS),
            stack("nn.Module: Linear_0", at + 4 * MS, at + 6 * MS),
            operator("aten::linear", at + 4 * MS, at + 6 * MS),
            operator("aten::addmm", at + 4 * MS, at + 6 * MS),
            *launched(step * 2 + 1, (at + 5 * MS, at + 5 * MS + 1000), (at + 5 * MS + 2000, at + 7 * MS), name="gemm"),
            operator("aten::relu", at + 6 * MS, at + 8 * MS),
            *launched(step * 2 + 2, (at + 7 * MS, at + 7 * MS + 1000), (at + 7 * MS + 2000, at + 8 * MS), name="relu"),
        ]
    return trace(rows)


def test_device_time_stands_on_modules_operators_and_kernels() -> None:
    assert flame(depict(program()), "module", "device") == {
        "nn.Module: Net_0/nn.Module: Linear_0/aten::linear/aten::addmm/gemm": 2 * MS - 2000,
        "nn.Module: Net_0/aten::relu/relu": MS - 2000,
    }


def test_device_time_stands_on_the_users_lines() -> None:
    assert flame(depict(program()), "line", "device") == {
        "train.py(3): main/aten::linear/aten::addmm/gemm": 2 * MS - 2000,
        "train.py(3): main/aten::relu/relu": MS - 2000,
    }


def test_host_time_is_each_frames_own_and_sums_to_what_the_outermost_last() -> None:
    found = flame(depict(program()), "module", "host")
    root = "thread 1"
    assert (
        found[f"{root}/nn.Module: Net_0/nn.Module: Linear_0/aten::linear/aten::addmm"] == 2 * MS
    )  # the launch is too small to be seen
    assert found[f"{root}/enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"] == 3 * MS
    assert sum(found.values()) == 8 * MS


def test_a_backward_operator_stands_on_the_module_of_its_forward_one() -> None:
    rows = [
        stack("nn.Module: Linear_0", 0, 4 * MS),
        operator("aten::linear", 0, 4 * MS, sequence=5),
        *launched(1, (MS, MS + 10), (MS + 20, 2 * MS)),
        operator("AddmmBackward0", 5 * MS, 6 * MS, thread="2", sequence=5),
        *launched(2, (5 * MS + 10, 5 * MS + 20), (5 * MS + 30, 6 * MS), thread="2", name="gemm_t"),
    ]
    assert flame(depict(trace(rows)), "module", "device") == {
        "nn.Module: Linear_0/aten::linear/gemm": MS - 20,
        "nn.Module: Linear_0/AddmmBackward0/gemm_t": MS - 30,
    }


def test_stacks_recorded_as_text_are_lines_too() -> None:
    stacks = "torch/nn/functional.py(1): relu;model.py(8): forward;train.py(3): main"
    rows = [operator("aten::relu", 0, MS, call_stack=stacks), *launched(1, (10, 20), (30, MS))]
    assert flame(depict(trace(rows)), "line", "device") == {
        "train.py(3): main/model.py(8): forward/aten::relu/gemm": MS - 30
    }


def test_work_without_a_recorded_launch_is_not_lost() -> None:
    assert flame(depict(trace([kernel(0, MS, 77)])), "module", "device") == {"(no recorded launch)/gemm": MS}


@pytest.mark.parametrize("whole", [False, True])
def test_owners_sum_to_the_attribution(whole: bool) -> None:
    recorded = program()
    (line,) = attribute(recorded).timelines
    (owners,) = [track for track in depict(recorded, whole=whole).tracks if track.role == "owners"]
    found: Counter[str] = Counter()
    for kind, start, end in zip(owners.kind.tolist(), owners.start.tolist(), owners.end.tolist(), strict=True):
        found[KINDS[kind]] += end - start
    assert found == Counter({name: ns for name, ns in (*line.busy.items(), *line.idle.items()) if ns})
    assert (owners.start[1:] == owners.end[:-1]).all()


def test_idle_time_names_the_host_event_that_it_is_owed_to() -> None:
    picture = depict(program())
    (owners,) = [track for track in picture.tracks if track.role == "owners"]
    names = {KINDS[kind]: picture.names[name] for kind, name in zip(owners.kind, owners.name, strict=True) if name >= 0}
    assert names["data_loading"] == "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"


def test_threads_nest_and_leave_out_librarys_python_unless_the_whole_is_wanted() -> None:
    for whole in (False, True):
        picture = depict(program(), whole=whole)
        (thread,) = [track for track in picture.tracks if track.role == "thread"]
        shown = {picture.names[name] for name in thread.name.tolist()}
        assert ("/site-packages/torch/nn.py(9): forward" in shown) == whole
        at = [picture.names[name] for name in thread.name.tolist()].index("aten::addmm")
        assert thread.level[at] == (6 if whole else 5)


def test_without_device_the_thread_has_owners_and_host_flames() -> None:
    rows = [annotation("epoch", 0, 4 * MS), operator("aten::mm", 0, MS), operator("aten::add", 2 * MS, 3 * MS)]
    picture = depict(trace(rows))
    assert {track.role for track in picture.tracks} == {"owners", "thread"}
    assert flame(picture, "module", "host") == {
        "thread 1/epoch": 2 * MS,
        "thread 1/epoch/aten::mm": MS,
        "thread 1/epoch/aten::add": MS,
    }


def test_nothing_recorded_gives_an_empty_picture() -> None:
    picture = depict(trace([]))
    assert (picture.tracks, picture.flames, picture.names) == ((), (), ())


def test_a_large_trace_is_thinned_to_what_can_be_drawn() -> None:
    rows = [mark(step, step * 10 * MS, (step + 1) * 10 * MS) for step in range(8)]
    for number in range(20_000):
        at = number * 4000
        rows += launched(number, (at, at + 1000), (at + 1500, at + 3000), name=f"kernel{number % 7}")
        rows.append(operator("aten::add", at, at + 2000))
    picture = depict(trace(rows))
    assert picture.elements > MOST_ELEMENTS
    assert sum(len(track.start) for track in picture.tracks) <= MOST_ELEMENTS
    assert sum(int(track.merged.sum()) for track in picture.tracks) == picture.elements
    assert picture.focus is not None
    inside = [
        int(track.merged[(track.start > picture.focus[0]) & (track.end < picture.focus[1])].max())
        for track in picture.tracks
    ]
    assert max(inside) < max(int(track.merged.max()) for track in picture.tracks)


def test_calls_that_launch_and_wait_are_told_from_the_rest() -> None:
    rows = [*launched(1, (0, 10), (20, 100)), call("cudaDeviceSynchronize", 10, 100), call("cudaGetDevice", 200, 300)]
    (thread,) = [track for track in depict(trace(rows)).tracks if track.role == "thread"]
    assert [KINDS[kind] for kind in thread.kind.tolist()] == ["launch", "wait", "call"]
    assert Category.RUNTIME not in thread.kind


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50), st.integers(0, 200)), min_size=1, max_size=200),
    st.integers(8, 60),
)
def test_thinning_keeps_lanes_apart_and_covers_every_element(parts: list[tuple[int, int, int]], limit: int) -> None:
    reach = [0] * 4
    elements = []
    for lane, gap, length in parts:
        begin = reach[lane] + gap
        reach[lane] = begin + length
        elements.append((lane, begin, begin + length))
    lanes, start, end = np.array(sorted(elements)).T
    found = thin(lanes, start, end, limit, None)
    assert found.merged.sum() == len(lanes)
    first = np.cumsum(found.merged) - found.merged
    for at, count, low, high, longest in zip(first, found.merged, found.start, found.end, found.longest, strict=True):
        some = slice(at, at + count)
        assert len(set(lanes[some].tolist())) == 1
        assert (start[some].min(), end[some].max()) == (low, high)
        assert at <= longest < at + count
        assert end[longest] - start[longest] == (end[some] - start[some]).max()
    where = lanes[first]
    same = where[1:] == where[:-1]
    assert (found.start[1:] >= found.end[:-1])[same].all()
    assert len(found.start) <= max(limit, 4 + 2 * 4)


def test_what_proves_a_finding_is_marked_on_every_row_also_after_thinning() -> None:
    rows = []
    for number in range(3):
        at = number * 100 * US
        rows.append(operator(f"aten::op{number}", at, at + 30 * US))
        rows += launched(number + 1, (at + 5 * US, at + 10 * US), (at + 20 * US, at + 60 * US), name=f"kernel{number}")
    recorded = trace(rows)
    names = recorded.columns["name"]
    proof = [
        row for row, name in enumerate(names.tolist()) if recorded.strings[name] in ("aten::op1", "kernel1", "kernel2")
    ]
    picture = examine(recorded).picture([proof, ()])
    assert picture.marks[1] == ()
    found = {
        picture.names[picture.tracks[track].name[element]]
        for track, elements in picture.marks[0]
        for element in elements.tolist()
    }
    assert found == {"aten::op1", "kernel1", "kernel2"}


def test_a_mark_of_something_that_was_merged_is_on_what_it_became(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfkit.attribute.picture.MOST_ELEMENTS", 8)
    rows = [row for n in range(200) for row in launched(n + 1, (n * US, n * US + 300), (n * US + 400, n * US + 900))]
    recorded = trace(rows)
    kernel_rows = np.flatnonzero([recorded.strings[name] == "gemm" for name in recorded.columns["name"].tolist()])
    picture = examine(recorded).picture([kernel_rows[100:102].tolist()])
    ((track, elements),) = picture.marks[0]
    shown = picture.tracks[track]
    start = int(recorded.columns["start"][kernel_rows[100]])
    assert (shown.merged > 1).any()
    assert any(shown.start[at] <= start <= shown.end[at] for at in elements.tolist())
