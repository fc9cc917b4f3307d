"""The compiled scanner and its Python twin say the same of every document, byte for byte and offset for offset."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutations import TOKENS, cuts, mutate
from tests.fuzz.outcome import (
    ALL_COLUMNS,
    DEFAULT_COLUMNS,
    TWIN,
    Scanner,
    differences,
    native,
    no_plain_events,
    scan,
    small_batches,
)
from tests.fuzz.seeds import DOCUMENTS, TIMES, VALUES, excerpts, read_trace, trace_files
from tests.unit.ingest.found_by_fuzzing import FOUND

if TYPE_CHECKING:
    from pathlib import Path

NATIVE = native()
PART = 3_000_000
COLUMN_SETS = {"all": ALL_COLUMNS, "default": DEFAULT_COLUMNS}

pytestmark = pytest.mark.skipif(NATIVE is None, reason="perfkit was installed without its native scanner")


@pytest.fixture(autouse=True)
def scanner() -> Scanner:
    """Both scanners meet in each test: none runs once for either."""
    assert NATIVE is not None
    return NATIVE


def disagreement(
    document: bytes, pieces: list[int] | None = None, columns: str = "all", *, plain: bool = True
) -> list[str]:
    """What the two scanners say differently of a document, the native one fed in `pieces`, and the twin too."""
    assert NATIVE is not None
    wanted = COLUMN_SETS[columns]
    one = scan(NATIVE, document, pieces or [], wanted)
    if plain:
        return differences(one, scan(TWIN, document, pieces or [], wanted))
    with no_plain_events(), small_batches():
        return differences(one, scan(TWIN, document, pieces or [], wanted))


def name_of(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"


@pytest.mark.parametrize("columns", COLUMN_SETS)
@pytest.mark.parametrize("file", trace_files(), ids=name_of)
def test_traces(file: Path, columns: str) -> None:
    document = read_trace(file)
    pieces = list(range(1_000_003, PART, 1_000_003))
    assert disagreement(document[:PART], pieces, columns) == []
    if len(document) > PART and columns == "all":
        # The end of a big one, found without its beginning: as the rest of a list, and as junk.
        assert disagreement(b"[" + document[-PART // 3 :]) == []
        assert disagreement(document[-PART // 3 :]) == []


@pytest.mark.parametrize("document", DOCUMENTS + FOUND)
def test_hand_written_documents_and_what_fuzzing_found(document: bytes) -> None:
    for pieces in ([], [len(document) // 2], list(range(1, len(document))) if len(document) < 2000 else []):
        assert disagreement(document, pieces) == []
        assert disagreement(document, pieces, "default", plain=False) == []


@pytest.mark.parametrize("seed", range(40))
def test_excerpts_with_faults(seed: int) -> None:
    rng = random.Random(seed)
    file = rng.choice(trace_files()[:-8] or trace_files())
    for document in excerpts(read_trace(file)[:PART], rng, 10):
        faulty = mutate(document, rng)
        pieces = cuts(len(faulty), rng)
        assert disagreement(faulty, pieces, rng.choice(list(COLUMN_SETS)), plain=rng.random() < 0.5) == []


@pytest.mark.parametrize("kinds", [3, 40, 5000])
def test_events_that_repeat_their_keys_or_never_do(kinds: int) -> None:
    """What a scanner learns from events must hold for the next, and not outgrow its place."""
    rng = random.Random(kinds)

    def shape() -> list[tuple[bytes, bytes]]:
        keys = [*rng.sample(KEYS, rng.randrange(1, 12)), b"k%d" % rng.randrange(kinds)]
        return [(rng.choice((b"", b" ", b"\n  ")), key) for key in keys]

    def members(keys: list[tuple[bytes, bytes]]) -> bytes:
        return b",".join(b'%s"%s"%s:%s' % (gap, key, gap, rng.choice(VALUES[:40] + TIMES)) for gap, key in keys)

    shapes = [(shape(), shape()) for _ in range(kinds)]
    texts = []
    for _ in range(6000):
        outer, inner = rng.choice(shapes)
        texts.append(b'{"ph":"X","ts":1,%s,"args":{%s}}' % (members(outer), members(inner)))
        if rng.random() < 0.05:
            texts[-1] = mutate(texts[-1], rng)
    document = b"[" + b",\n".join(texts) + b"]"
    assert disagreement(document, cuts(len(document), rng)) == []


KEYS = sorted({key.encode() for _, _, keys, _ in ALL_COLUMNS for key in keys} | {b"ph", b"id", b"args", b"s", b"x"})

spaces = st.sampled_from([b"", b"", b"", b" ", b"\n  ", b"\t\r"])
characters = st.text(max_size=12).map(lambda text: text.encode("utf-8", "surrogatepass"))
texts = st.one_of(
    characters.map(lambda raw: b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'),
    st.lists(
        st.sampled_from([b"a", b"\\n", b"\\u0041", b"\\ud83d", b"\\ude00", b"\\p", b"\x01", b"\xff"]), max_size=5
    ).map(lambda parts: b'"' + b"".join(parts) + b'"'),
)
numbers = st.one_of(
    st.integers(-(2**65), 2**65).map(lambda value: b"%d" % value),
    st.decimals(allow_nan=False, allow_infinity=False).map(lambda value: str(value).encode()),
    st.from_regex(rb"-?[0-9]{1,22}(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)
quoted_numbers = numbers.map(lambda number: b'"' + number + b'"')
nested = st.recursive(
    st.one_of(texts, numbers, st.just(b"null")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: b"[" + b", ".join(items) + b"]"),
        st.lists(inner, max_size=4).map(lambda items: b"{" + b",".join(b'"k":' + item for item in items) + b"}"),
    ),
    max_leaves=8,
)
values = st.one_of(texts, numbers, quoted_numbers, nested, st.sampled_from(VALUES[:40] + TIMES))


def objects(members: st.SearchStrategy[tuple[bytes, bytes]]) -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda pairs, gap: (
            b"{" + gap + (gap + b"," + gap).join(b'"%s"%s:%s%s' % (k, gap, gap, v) for k, v in pairs) + gap + b"}"
        ),
        st.lists(members, max_size=9),
        spaces,
    )


args = objects(st.tuples(st.sampled_from(KEYS), values))
members = st.one_of(
    st.tuples(st.just(b"ph"), st.sampled_from([b'"X"', b'"X"', b'"X"', b'"i"', b'"M"', b'"s"'])),
    st.tuples(st.just(b"ts"), st.one_of(numbers, quoted_numbers)),
    st.tuples(st.just(b"args"), args),
    st.tuples(st.sampled_from(KEYS), values),
)
events = objects(members)
lists = st.builds(lambda items, gap: b"[" + (gap + b"," + gap).join(items) + b"]", st.lists(events, max_size=6), spaces)
documents = st.one_of(
    lists, objects(st.one_of(st.tuples(st.just(b"traceEvents"), lists), st.tuples(st.sampled_from(KEYS), values)))
)
faults = st.lists(st.tuples(st.floats(0, 1), st.sampled_from(TOKENS), st.integers(0, 9)), max_size=3)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(documents, faults, st.randoms(use_true_random=False), st.sampled_from(list(COLUMN_SETS)), st.booleans())
def test_generated_documents(
    document: bytes, changes: list[tuple[float, bytes, int]], rng: random.Random, columns: str, plain: bool
) -> None:
    for place, token, length in changes:
        at = int(place * len(document))
        document = document[:at] + token + document[at + length :]
    assert disagreement(document, cuts(len(document), rng), columns, plain=plain) == []
