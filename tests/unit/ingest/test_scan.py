"""Where a scanner could trip over its own machinery: pieces, registers, blocks, what it expects, chunks, threads."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from perfkit.model.columns import MISSING_INT, MISSING_SMALL
from tests.fuzz.outcome import ALL_COLUMNS, TWIN, Outcome, Scanner, native, scan, small_batches

NATIVE = native()
NOT_BUILT = "perfkit was installed without its native scanner"
TEXTS = {column[0] for column in ALL_COLUMNS if column[1] in ("text", "json", "key")}


@pytest.fixture(
    params=[
        pytest.param(NATIVE, id="native", marks=pytest.mark.skipif(NATIVE is None, reason=NOT_BUILT)),
        pytest.param(TWIN, id="twin"),
    ]
)
def scanner(request: pytest.FixtureRequest) -> Scanner:
    chosen: Scanner = request.param
    return chosen


def cells(outcome: Outcome, name: str) -> list[Any]:
    """A column, strings instead of their numbers and None instead of missing values."""
    values = outcome.columns[name].tolist()
    if name in TEXTS:
        return [None if value == MISSING_SMALL else outcome.facts["strings"][value] for value in values]
    return [None if value in (MISSING_INT, MISSING_SMALL) else value for value in values]


@dataclass
class Case:
    """A document, the cells of some columns, the defects, and other facts."""

    label: str
    text: bytes
    cells: dict[str, list[Any]] = field(default_factory=dict)
    defects: list[tuple[str, int, int]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


CASES = [
    Case("nothing", b"", {"start": []}, [], {"top": "", "events_seen": False, "rows": 0}),
    Case(
        "byte order mark, header, events, header",
        b'\xef\xbb\xbf {"a" : [1, {"b": "]"}], "traceEvents" : [ ] , "c":1e3 }\n',
        {"start": []},
        [],
        {"header": {b"a": b'[1, {"b": "]"}]', b"c": b"1e3"}, "top": "object", "events_seen": True},
    ),
    Case(
        "two values one after the other",
        b'[{"ph":"X","ts":1}]\r\n{"traceEvents":[{"ph":"X","ts":2}],"x":0,"traceEvents":[{"ph":"X","ts":3}]}',
        {"start": [1000, 2000, 3000]},
        [],
        {"top": "list", "header": {b"x": b"0"}},
    ),
    Case(
        "junk before, between and after",
        b'x[{"ph":"X","ts":1}] y, [{"ph":"X","ts":2}] z',
        {"start": [1000, 2000]},
        [("trailing_data", 1, 0)],
        {"top": "list"},
    ),
    Case(
        "escapes, good and bad",
        b'[{"ph":"X","ts":1,"name":"\\u00e9\\ud83d\\ude00\\ud83d\\n\\p\\u12\\""}]',
        {"name": ['\u00e9\U0001f600\ufffd\n\\p\\u12"'.encode()]},
        [("bad_escape", 2, 52)],
    ),
    Case(
        "control characters and invalid UTF-8, in names and in what is skipped",
        b'[{"ph":"X","ts":1,"name":"a\tb","q\x01":["\x02"],"cat":"\xff"}]',
        {"name": [b"a\tb"], "category": [b"\xff"]},
        [("control_character", 3, 27), ("invalid_utf8", 1, 48)],
    ),
    Case(
        "values that are no JSON",
        b'[{"ph":"X","ts":1,"dur":NaN,"tid":N/A,"args":{"stream":-inf,"grid":None,"odd":nan(ind)}}]',
        {"start": [1000], "duration": [None], "thread": [None], "stream": [None], "grid": [None]},
        [("bare_value", 5, 24)],
    ),
    Case(
        "numbers in strings, of every kind",
        b'[{"ph":"X","ts":" 1.5 ","dur":"x","pid":"7","tid":7,'
        b'"args":{"stream":"3.9","correlation":"-2","device":true}}]',
        {"start": [1500], "duration": [None], "process": [b"7"], "thread": [b"7"], "stream": [3], "correlation": [-2]},
    ),
    Case(
        "numbers out of range",
        b'[{"ph":"X","ts":1,"dur":1e17,"args":{"stream":4294967296,"correlation":-9223372036854775808}}]',
        {"duration": [None], "stream": [None], "correlation": [None]},
        [("number_out_of_range", 3, 24)],
    ),
    Case(
        "args that are no object, and args twice",
        b'[{"ph":"X","ts":1,"args":[{"stream":1}]},{"args":{"stream":1},"ts":2,"ph":"X","args":{"device":0}}]',
        {"start": [1000, 2000], "stream": [None, 1], "device": [None, 0]},
    ),
    Case(
        "elements that are no events",
        b'[null,1,"{",[{"ph":"X"}],{"ph":"X","ts":1}]',
        {"start": [1000]},
        [("event_not_object", 4, 1)],
    ),
    Case(
        "commas that are missing or too many",
        b'[,{"ph":"X","ts":1}{"ph":"X","ts":2},,{"ph":"X","ts":3},]',
        {"start": [1000, 2000, 3000]},
        [("extra_comma", 3, 1), ("missing_comma", 1, 19)],
    ),
    Case(
        "a broken event, and the next one",
        b'[{"ph":"X","ts":1 "name":"a{"},{"ph":"X","ts":2},{"ph":"X","ts":3\0},{ "name" : "b","ph":"X","ts":4}]',
        {"start": [2000, 4000], "name": [b"", b"b"]},
        [("broken_event", 2, 1)],
    ),
    Case(
        "a quote that is not closed",
        b'[{"ph":"X","ts":1,"name":"a},{"ph":"X","ts":2,"name":"b"},{"ph":"X","ts":3,"name":"c"}]',
        {"name": [b"b", b"c"]},
        [("broken_event", 1, 1)],
    ),
    Case(
        "cut off in an event",
        b'[{"ph":"X","ts":1},{"ph":"X","ts":2,"args":{"grid":[1,',
        {"start": [1000]},
        [("truncated_event", 1, 19), ("truncated", 1, 54)],
    ),
    Case("cut off after an event", b'[{"ph":"X","ts":1},', {"start": [1000]}, [("truncated", 1, 19)]),
    Case(
        "a broken header",
        b'{"a" 1, "traceEvents": 0, "traceEvents": [{"ph":"X","ts":1}]}',
        {"start": [1000]},
        [("broken_header", 1, 5)],
    ),
    Case(
        "metadata and phases",
        b'[{"ph":"M","name":"process_name","pid":"a\\"b","tid":0,"args":{ "name" : "p" }},'
        b'{"ph":"Xx"},{"ph":"f"},{"b":1}]',
        {"start": []},
        [],
        {
            "metadata": [(b"process_name", b'a"b', b"0", b'{ "name" : "p" }')],
            "phases": {"M": 1, "Xx": 1, "f": 1, "": 1},
        },
    ),
    Case(
        "memory events",
        b'[{"ph":"i","ts":1,"dur":2,"args":{"Addr":5}},{"ph":"i","ts":2},{"ph":"I","args":{"Total Reserved":1}}]',
        {"start": [1000], "duration": [None], "address": [5]},
        [("event_without_time", 1, 63)],
    ),
    Case(
        "the last usable value of a column",
        b'[{"ph":"X","ts":1,"ts":2,"ts":null,'
        b'"args":{"External id":5,"external id":"x","stream":1,"stream":2147483648}}]',
        {"start": [2000], "external_id": [5], "stream": [1]},
    ),
]


@pytest.mark.parametrize("size", [1, 7, 65536])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_documents_in_pieces(scanner: Scanner, case: Case, size: int) -> None:
    with small_batches():
        outcome = scan(scanner, case.text, range(size, len(case.text), size))
    assert {name: cells(outcome, name) for name in case.cells} == case.cells
    assert outcome.facts["defects"] == case.defects
    assert {name: outcome.facts[name] for name in case.facts} == case.facts
    assert outcome.facts["bytes_seen"] == len(case.text)


def test_strings_of_every_length(scanner: Scanner) -> None:
    names = [bytes([97 + length % 26]) * length for length in range(140)]
    text = b"[" + b",".join(b'{"ph":"X","ts":1,"name":"%b"}' % name for name in names) + b"]"
    assert cells(scan(scanner, text), "name") == names


@pytest.mark.parametrize(("raw", "kept"), [(b"\\n", b"\n"), (b"\\\\", b"\\"), (b'\\"', b'"'), (b"\x1f", b"\x1f")])
def test_an_odd_character_at_every_position(scanner: Scanner, raw: bytes, kept: bytes) -> None:
    edges = [(b"a" * before, b"b" * (70 - before)) for before in range(70)]
    names = b",".join(b'{"ph":"X","ts":1,"name":"%b","dur":1}' % raw.join(edge) for edge in edges)
    grids = b",".join(b'{"ph":"X","ts":1,"args":{"grid":["%b"],"stream":1}}' % raw.join(edge) for edge in edges)
    outcome = scan(scanner, b"[" + names + b"," + grids + b"]")
    assert cells(outcome, "name")[:70] == [kept.join(edge) for edge in edges]
    assert cells(outcome, "duration")[:70] == [1000] * 70
    assert cells(outcome, "grid")[70:] == [b'["' + raw.join(edge) + b'"]' for edge in edges]
    assert cells(outcome, "stream")[70:] == [1] * 70
    assert [(kind, count) for kind, count, _ in outcome.facts["defects"]] == [("control_character", 140)] * (
        raw == kept
    )


@pytest.mark.parametrize("length", range(1, 200))
def test_nested_values_that_end_anywhere(scanner: Scanner, length: int) -> None:
    quoted = b'[{"k": "' + b"}" * length + b'" }, [[1]]]'
    spaced = b"[[1, 2]," + b" \n" * length + b'{"a"' + b"\t" * length + b': "b"\r\n}]'
    wide = b"[" + b"[]," * length + b"[]]"
    deep = b"[" * length + b"]" * length
    values = [quoted, spaced, wide, deep]
    text = (
        b"[" + b",".join(b'{"ph":"X","ts":1,"args":{"skip":%b,"grid":%b}}' % (value, value) for value in values) + b"]"
    )
    outcome = scan(scanner, text)
    assert cells(outcome, "grid") == values
    assert outcome.facts["defects"] == []


def test_a_lost_quote_in_an_array_breaks_only_its_event(scanner: Scanner) -> None:
    events = [b'{"ph":"X","ts":1,"args":{"grid":[%b"a, "b"],"stream":1}}' % (b"0," * before) for before in range(40)]
    whole = b'{"ph":"X","ts":2}'
    outcome = scan(scanner, b"[" + b",".join(event + b"," + whole for event in events) + b"]")
    assert cells(outcome, "start") == [2000] * 40
    assert outcome.facts["defects"] == [("broken_event", 40, 1)]


def test_deep_nesting_needs_no_stack(scanner: Scanner) -> None:
    deep = b"[" * 400_000 + b"]" * 400_000
    text = b'{"a":%b,"traceEvents":[%b,{"ph":"X","ts":1,"args":{"grid":%b}}]}' % (deep, deep, deep)
    outcome = scan(scanner, text)
    assert cells(outcome, "grid") == [deep]
    assert outcome.facts["header"] == {b"a": deep}
    assert outcome.facts["defects"] == [("event_not_object", 1, text.index(b'":[[', 10) + 3)]


def test_numbers_of_every_length(scanner: Scanner) -> None:
    wholes = [int("1234567890123456789"[:digits]) for digits in range(1, 20)]
    texts = [
        b"%d.%b" % (whole, b"987654321012345678901"[:decimals]) for whole in wholes[:15] for decimals in range(1, 22)
    ]
    times = [whole * 1000 + int("987"[:decimals].ljust(3, "0")) for whole in wholes[:15] for decimals in range(1, 22)]
    text = b"[" + b",".join(b'{"ph":"X","ts":%b,"dur":-%b}' % (time, time) for time in texts) + b"]"
    outcome = scan(scanner, text)
    assert cells(outcome, "start") == times
    assert cells(outcome, "duration") == [-time for time in times]
    text = b"[" + b",".join(b'{"ph":"X","ts":0,"args":{"correlation":%d}}' % whole for whole in wholes) + b"]"
    assert cells(scan(scanner, text), "correlation") == wholes


def test_events_whose_layout_keeps_changing(scanner: Scanner) -> None:
    keys = [
        b'"ph"%b:%b"X"',
        b'"ts"%b:%b5',
        b'"name"%b:%b"n"',
        b'"pid"%b:%b1',
        b'"args"%b:%b{"stream":2}',
        b'"args"%b:%b3',
    ]
    spaces = itertools.cycle([b"", b" ", b"\n\t", b" " * 60, b"\r\n  "])
    events = [
        b"{" + b",".join(next(spaces) + key % (next(spaces), next(spaces)) + next(spaces) for key in order) + b"}"
        for order in itertools.permutations(keys)
    ]
    outcome = scan(scanner, b"[" + b",".join([*events, b"{}", *events]) + b"]")
    assert outcome.facts["phases"] == {"X": 1440, "": 1}
    assert outcome.facts["defects"] == []
    assert set(cells(outcome, "start")) == {5000}
    assert set(cells(outcome, "stream")) == {2}


def test_more_keys_than_can_be_remembered(scanner: Scanner) -> None:
    events = [b'{"ph":"X","ts":%d,"k%d":0,"args":{"a%d":[],"stream":%d}}' % ((n,) * 4) for n in range(9000)]
    outcome = scan(scanner, b"[" + b",".join(events) + b"]")
    assert cells(outcome, "stream") == list(range(9000))
    assert cells(outcome, "start") == [n * 1000 for n in range(9000)]


def test_many_different_strings(scanner: Scanner) -> None:
    names = [b"%d" % (n * n) for n in range(20_000)]
    text = b"[" + b",".join(b'{"ph":"X","ts":1,"name":"%b","pid":%b}' % (name, name) for name in names * 2) + b"]"
    outcome = scan(scanner, text)
    assert outcome.facts["strings"] == names
    assert cells(outcome, "process") == names * 2


def test_a_big_event_in_small_pieces(scanner: Scanner) -> None:
    name = b"n" * 1_000_000
    text = b'[{"ph":"X","ts":1,"name":"' + name + b'"},{"ph":"X","ts":2}]'
    outcome = scan(scanner, text, range(100, len(text), 100))
    assert cells(outcome, "name") == [name, b""]
    assert outcome.facts["defects"] == []


def test_columns_outlive_the_scanner(scanner: Scanner) -> None:
    one = scanner(ALL_COLUMNS)
    one.feed(bytearray(b'[{"ph":"X","ts":1}]'))
    one.finish()
    start, stream = one.column("start"), one.column("stream")
    del one
    start += 1
    assert (start.dtype, start.tolist()) == (np.int64, [1001])
    assert (stream.dtype, stream.tolist()) == (np.int32, [MISSING_SMALL])


@pytest.mark.skipif(NATIVE is None, reason=NOT_BUILT)
def test_one_thread_at_a_time_and_without_the_gil() -> None:
    assert NATIVE is not None
    one = NATIVE(ALL_COLUMNS)
    document = b'[{"ph":"X","ts":1,"name":"' + b"\1" * 20_000_000
    feeder = threading.Thread(target=one.feed, args=(document,))
    feeder.start()
    refusals = 0
    while feeder.is_alive():
        try:
            assert one.bytes_seen in (0, len(document))
        except RuntimeError:
            refusals += 1
    feeder.join()
    assert refusals > 0
    one.finish()
    assert [defect[0] for defect in one.defects] == ["truncated_event", "truncated"]


@pytest.mark.skipif(NATIVE is None, reason=NOT_BUILT)
def test_what_is_no_run_of_bytes_is_refused() -> None:
    assert NATIVE is not None
    one = NATIVE(ALL_COLUMNS)
    with pytest.raises(TypeError):
        one.feed("[]")
    with pytest.raises(ValueError, match="one after the other"):
        one.feed(memoryview(b"[ ]")[::2])
    one.feed(np.frombuffer(b"[]", np.uint8))
    one.finish()
    assert one.top == "list"
