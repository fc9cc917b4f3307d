"""The compiled replay and its twin: the same times for every graph, and right for those that fit into a head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.ingest.compiled import compiled
from perfkit.simulate.engine import NO_EDGE, Engine, Twin

if TYPE_CHECKING:
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
    engine: Engine, edges: list[tuple[int, int, int]], earliest: list[int], own: list[int], seen: list[int]
) -> tuple[list[int], list[int]]:
    """Schedule and replay a graph of (source, target, lag); returns the order, and the time of each node."""
    source, target = numbers([e[0] for e in edges]), numbers([e[1] for e in edges])
    order, first, position = engine.schedule(target, source, numbers(seen))
    place = np.empty(len(seen), np.int32)
    place[order] = np.arange(len(seen), dtype=np.int32)
    sources, lags = np.empty(len(edges), np.int32), np.empty(len(edges), np.int64)
    sources[position], lags[position] = place[source], [e[2] for e in edges]
    found = engine.replay(first, sources, lags, times(earliest)[order], times(own)[order])
    return order.tolist(), found[place].tolist()


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


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[tuple[int, int, int]], list[int], list[int], list[int]]:
    nodes = draw(st.integers(1, 12))
    node = st.integers(0, nodes - 1)
    edges = draw(st.lists(st.tuples(node, node, TIMES), max_size=40))
    some = st.lists(TIMES, min_size=nodes, max_size=nodes)
    return edges, draw(some), draw(some), draw(st.permutations(range(nodes)))


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
    with pytest.raises(ValueError, match=r"graph|edges"):
        NATIVE.replay(times([0, 2]), numbers([0]), times([0]), times([0]), times([0]))
