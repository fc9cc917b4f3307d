"""The compiled replay and its twin: the same times for every graph, and right for those that fit into a head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.ingest.compiled import compiled
from perfkit.simulate.engine import NO_EDGE, Engine, Incoming, Twin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NATIVE: Any = compiled()
ENGINES = [pytest.param(Twin(), id="twin")]
if NATIVE is not None:
    ENGINES.append(pytest.param(NATIVE, id="native"))

EXTREME = st.sampled_from([NO_EDGE, NO_EDGE + 1, -(2**61) - 1, 2**61 + 1, 2**63 - 1, 0])
TIMES = st.one_of(st.integers(-1000, 1000), EXTREME)


def numbers(values: list[int]) -> NDArray[np.int32]:
    return np.array(values, np.int32)


def times(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def run(
    engine: Engine,
    edges: Sequence[tuple[int, ...]],
    earliest: list[int],
    own: list[int],
    seen: list[int],
    draws: list[list[list[int]]] | None = None,
) -> tuple[list[int], list[Any]]:
    """Schedule and replay a graph of (source, target, lag, and of some: table, whether behind); returns the order, and
    the time of each node, in each lane where there are several.
    """
    source, target = numbers([e[0] for e in edges]), numbers([e[1] for e in edges])
    order, first, position = engine.schedule(target, source, numbers(seen))
    sources, lags = np.empty(len(edges), np.int32), np.empty(len(edges), np.int64)
    table, behind = np.full(len(edges), -1, np.int32), np.zeros(len(edges), np.uint8)
    sources[position], lags[position] = source, [e[2] for e in edges]
    table[position], behind[position] = [[*e, -1][3] for e in edges], [[*e, 0, 0][4] for e in edges]
    lanes = np.array([[[0]]] if draws is None else draws, np.int64)
    incoming = Incoming(first, sources, lags, table, behind)
    found = engine.replay(incoming, order, times(earliest), times(own), lanes)
    return order.tolist(), found[:, 0].tolist() if draws is None else found.tolist()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_node_waits_for_all_that_leads_to_it(engine: Engine) -> None:
    # A host calls at 5 and at 8; the kernel of 20 started by the first keeps that of the second waiting.
    edges = [(0, 1, 3), (0, 2, 1), (1, 3, 1), (2, 3, 2)]
    order, found = run(engine, edges, [5, 0, 0, 0], [0, 0, 20, 10], [0, 1, 2, 3])
    assert order == [0, 1, 2, 3]
    assert found == [5, 8, 26, 38]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_edge_taken_out_holds_nothing_up(engine: Engine) -> None:
    assert run(engine, [(0, 1, NO_EDGE)], [50, 7], [0, 1], [0, 1])[1] == [50, 8]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_circle_is_broken_at_its_earliest_node(engine: Engine) -> None:
    order, found = run(engine, [(0, 1, 5), (1, 2, 5), (2, 0, 5)], [0, 0, 0], [0, 0, 0], [1, 2, 0])
    assert order == [1, 2, 0]
    assert found == [10, 0, 5]


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_takes_no_time(engine: Engine) -> None:
    assert run(engine, [], [], [], []) == ([], [])


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_behind_pauses_only_where_it_has_to_wait(engine: Engine) -> None:
    # Launched at 5 and begun at 8; what is before it ends at 7, or at 9, and then it begins 4 later.
    for end, begun in ((7, 8), (8, 8), (9, 13)):
        assert run(engine, [(0, 2, 3), (1, 2, 4, -1, 1)], [5, end, 0], [0, 0, 0], [0, 1, 2])[1] == [5, end, begun]


@pytest.mark.parametrize("engine", ENGINES)
def test_each_lane_draws_from_its_own_table_the_same_each_time(engine: Engine) -> None:
    draws = [[[1, 1], [7, 7]], [[2, 3], [9, 9]]]
    edges = [(0, 1, 100, 0), (0, 2, 100, 1), (0, 3, 8, 1)]
    first = run(engine, edges, [0] * 4, [0] * 4, [0, 1, 2, 3], draws)[1]
    assert first[2:] == [[7, 9], [7, 8]]
    assert first[1][0] == 1
    assert first[1][1] in (2, 3)
    assert run(engine, edges[:1], [0] * 4, [0] * 4, [3, 2, 1, 0], draws)[1][1] == first[1]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Sequence[tuple[int, ...]], list[int], list[int], list[int], list[list[list[int]]]]:
    nodes = draw(st.integers(1, 12))
    node = st.integers(0, nodes - 1)
    edges = draw(st.lists(st.tuples(node, node, TIMES, st.integers(-1, 1), st.integers(0, 1)), max_size=40))
    some = st.lists(TIMES, min_size=nodes, max_size=nodes)
    tables = st.lists(st.lists(TIMES, min_size=4, max_size=4), min_size=2, max_size=2)
    draws = draw(st.lists(tables, min_size=1, max_size=3))
    return edges, draw(some), draw(some), draw(st.permutations(range(nodes))), draws


@pytest.mark.skipif(NATIVE is None, reason="perfkit was installed without its compiled module")
@settings(max_examples=300, deadline=None)
@given(graphs())
def test_the_compiled_replay_and_its_twin_agree(graph: tuple[Any, ...]) -> None:
    assert run(NATIVE, *graph) == run(Twin(), *graph)


@pytest.mark.skipif(NATIVE is None, reason="perfkit was installed without its compiled module")
@pytest.mark.parametrize(
    ("target", "source", "seen"),
    [([0], [0, 1], [0, 1]), ([2], [0], [0, 1]), ([-1], [0], [0, 1]), ([0], [1], [0, 0]), ([0], [0], [1])],
)
def test_numbers_of_no_node_are_refused(target: list[int], source: list[int], seen: list[int]) -> None:
    with pytest.raises(ValueError, match=r"node|targets|every"):
        NATIVE.schedule(numbers(target), numbers(source), numbers(seen))
    edges = Incoming(times([0, 2]), numbers([0]), times([0]), numbers([-1]), np.zeros(1, np.uint8))
    with pytest.raises(ValueError, match=r"graph|edges"):
        NATIVE.replay(edges, numbers([0]), times([0]), times([0]), np.zeros((1, 1, 1), np.int64))


@pytest.mark.skipif(NATIVE is None, reason="perfkit was installed without its compiled module")
@pytest.mark.parametrize(("table", "shape"), [(0, (1, 0, 1)), (-1, (0, 1, 1)), (-1, (1, 1, 3)), (1, (1, 1, 1))])
def test_draws_that_are_not_there_are_refused(table: int, shape: tuple[int, ...]) -> None:
    edges = Incoming(times([0, 1]), numbers([0]), times([0]), numbers([table]), np.zeros(1, np.uint8))
    with pytest.raises(ValueError, match=r"table|power"):
        NATIVE.replay(edges, numbers([0]), times([0]), times([0]), np.zeros(shape, np.int64))
