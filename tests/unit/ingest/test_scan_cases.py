"""What a scanner makes of each kind of text, good and bad, spelt out: for the compiled scanner and for its twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from perfkit.ingest import _twin_event
from perfkit.model.columns import MISSING_INT, MISSING_SMALL
from tests.fuzz.outcome import ALL_COLUMNS, DEFAULT_COLUMNS, TWIN, Outcome, Scanner, native, scan, small_batches

NATIVE = native()
MIB = 1 << 20


@pytest.fixture(
    params=[
        pytest.param(NATIVE, id="native", marks=pytest.mark.skipif(NATIVE is None, reason="no compiled scanner here")),
        pytest.param(TWIN, id="twin"),
    ]
)
def scanner(request: pytest.FixtureRequest) -> Scanner:
    chosen: Scanner = request.param
    return chosen


def event(members: bytes) -> bytes:
    return b'{"ph":"X","ts":1,' + members + b"}"


def cells(outcome: Outcome, name: str) -> list[Any]:
    """A column with its strings looked up and its missing values as None."""
    kind = next(column[1] for column in ALL_COLUMNS if column[0] == name)
    values = outcome.columns[name].tolist()
    if kind in ("text", "json", "key"):
        return [None if value == MISSING_SMALL else outcome.facts["strings"][value] for value in values]
    return [None if value == (MISSING_SMALL if kind == "small" else MISSING_INT) else value for value in values]


def read_one(scanner: Scanner, name: str, text: bytes) -> tuple[Any, list[tuple[str, int, int]]]:
    outcome = scan(scanner, text)
    (value,) = cells(outcome, name)
    return value, outcome.facts["defects"]


@pytest.mark.parametrize(
    ("text", "start_ns"),
    [
        (b"0", 0),
        (b"-0", 0),
        (b"1419247332972.313", 1419247332972313),
        (b"1712148711000000.999999", 1712148711000000999),
        (b"-1.9999", -1999),
        (b"-0.0009", 0),
        (b"007.5", 7500),
        (b"1.5e3", 1500000),
        (b"1.4E+15", 1400000000000000000),
        (b"15e-1", 1500),
        (b"123456e-5", 1234),
        (b"1e-40", 0),
        (b"0.0000000000000000000000000000000000000001e40", 1000),
        (b"9223372036854775.807", 2**63 - 1),
        (b"-9223372036854775.807", 1 - 2**63),
        (b"0." + b"0" * 500 + b"1", 0),
        (b"0" * 500 + b"1", 1000),
        (b'"12.5"', 12500),
        (b'" \\t12"', None),
        (b'" 12 "', 12000),
        (b'"1_0"', None),
        (b'"12us"', None),
        (b'""', None),
        (b"null", None),
        (b"true", None),
        (b"[1]", None),
        (b"{}", None),
    ],
)
def test_microseconds_become_nanoseconds_without_rounding(scanner: Scanner, text: bytes, start_ns: int | None) -> None:
    outcome = scan(scanner, b'[{"ph":"X","ts":0,"dur":' + text + b"}]")
    assert cells(outcome, "duration") == [start_ns]
    assert outcome.facts["defects"] == []


@pytest.mark.parametrize(
    "text",
    [
        b"9223372036854775.808",
        b"-9223372036854775.808",
        b"18446744073709551615",
        b"1e41",
        b"0e41",
        b"1e-41",
        b"1e99999999999999999999",
        b"9" * 5000,
        b'"1e16"',
    ],
)
def test_a_time_beyond_the_column_is_missing_and_noted(scanner: Scanner, text: bytes) -> None:
    outcome = scan(scanner, b'[{"ph":"X","ts":0,"dur":' + text + b"}]")
    assert cells(outcome, "duration") == [None]
    assert outcome.facts["defects"] == [("number_out_of_range", 1, 24)]


@pytest.mark.parametrize(
    ("text", "stream", "in_range"),
    [
        (b"7", 7, True),
        (b"7.99", 7, True),
        (b"-7.99", -7, True),
        (b'"7"', 7, True),
        (b"2147483647", 2147483647, True),
        (b"-2147483647", -2147483647, True),
        (b"4294967295", -1, True),
        (b"2147483649", -2147483647, True),
        (b"2147483648", None, True),
        (b"4294967296", None, False),
        (b"-2147483648", None, False),
        (b"1e10", None, False),
    ],
)
def test_small_numbers_wrap_like_unsigned_ids(
    scanner: Scanner, text: bytes, stream: int | None, in_range: bool
) -> None:
    outcome = scan(scanner, b"[" + event(b'"args":{"stream":' + text + b"}") + b"]")
    assert cells(outcome, "stream") == [stream]
    assert outcome.facts["defects"] == ([] if in_range else [("number_out_of_range", 1, 35)])


@pytest.mark.parametrize(
    ("text", "name", "defects"),
    [
        (b'"aten::mm"', b"aten::mm", []),
        (b'""', b"", []),
        (b'"\\"\\\\\\/\\b\\f\\n\\r\\t"', b'"\\/\b\f\n\r\t', []),
        (b'"\\u00e9\\uD83D\\uDE00\\u0000"', "\u00e9\U0001f600\0".encode(), []),
        (b'"\\ud83d \\ude00\\ud83d\\ud83d\\ude00"', "\ufffd \ufffd\ufffd\U0001f600".encode(), []),
        (b'"C:\\Users\\p"', b"C:\\Users\\p", [("bad_escape", 2, 28)]),
        (b'"\\u12G4"', b"\\u12G4", [("bad_escape", 1, 26)]),
        (b'"a\x01b\tc\n"', b"a\x01b\tc\n", [("control_character", 3, 27)]),
        (b'"\\\x01"', b"\\\x01", [("bad_escape", 1, 26), ("control_character", 1, 27)]),
        (b'"\xff"', b"\xff", [("invalid_utf8", 1, 25)]),
        (b'"\xed\xa0\x80"', b"\xed\xa0\x80", [("invalid_utf8", 1, 25)]),
        (b'"\xc3\xa9"', b"\xc3\xa9", []),
        (b"5", b"", []),
        (b"NaN", b"", [("bare_value", 1, 25)]),
        (b'nan"x"', b"", [("bare_value", 1, 25)]),
        (b".5", b"", [("bare_value", 1, 25)]),
        (b"5.", b"", [("bare_value", 1, 25)]),
        (b"+5", b"", [("bare_value", 1, 25)]),
    ],
)
def test_strings(scanner: Scanner, text: bytes, name: bytes, defects: list[tuple[str, int, int]]) -> None:
    assert read_one(scanner, "name", b"[" + event(b'"name":' + text) + b"]") == (name, defects)


@pytest.mark.parametrize(
    ("text", "thread", "grid"),
    [
        (b"7", b"7", b"7"),
        (b'"7"', b"7", b'"7"'),
        (b'"stream 7"', b"stream 7", b'"stream 7"'),
        (b"null", None, None),
        (b"true", b"true", b"true"),
        (b"[1, 2]", None, b"[1, 2]"),
        (b'{"a":[]}', None, b'{"a":[]}'),
        (b'"\\n"', b"\n", b'"\\n"'),
        (b"[[[[[]]]]]", None, b"[[[[[]]]]]"),
    ],
)
def test_keys_and_raw_json(scanner: Scanner, text: bytes, thread: bytes | None, grid: bytes | None) -> None:
    outcome = scan(scanner, b"[" + event(b'"tid": ' + text + b' ,"args":{"grid": ' + text + b" }") + b"]")
    assert (cells(outcome, "thread"), cells(outcome, "grid")) == ([thread], [grid])
    assert outcome.facts["defects"] == []


def test_the_last_usable_value_wins(scanner: Scanner) -> None:
    text = event(b'"name":"a","name":"b","name":null,"args":{"device":3,"Device Id":4,"device":""},"args":{"stream":5}')
    outcome = scan(scanner, b"[" + text + b"]")
    assert [cells(outcome, name) for name in ("name", "device", "stream")] == [[b"b"], [4], [5]]
    assert outcome.facts["strings"] == [b"b"]


def test_keys_are_matched_after_unescaping(scanner: Scanner) -> None:
    text = b'[{"\\u0070h":"\\u0058","t\\u0073":2,"\\u0061rgs":{"str\\u0065am":3}}]'
    assert cells(scan(scanner, text), "stream") == [3]


def test_strings_are_numbered_by_row_then_column(scanner: Scanner) -> None:
    first = b'{"tid":"d","pid":"c","cat":"b","name":"a","ph":"X","ts":1}'
    text = b"[" + first + b',{"ph":"s","name":"z"},{"ph":"X","ts":2,"name":"e"}]'
    assert scan(scanner, text).facts["strings"] == [b"a", b"b", b"c", b"d", b"e"]


def test_only_complete_events_are_rows_and_all_are_counted(scanner: Scanner) -> None:
    text = b'[{"ph":"X","ts":1},{"ph":"s"},{"ph":"f"},{"ph":"s"},{"ph":"123456789"},{"ph":"\xff"},{"ph":1},{}]'
    outcome = scan(scanner, text)
    assert outcome.facts["rows"] == 1
    assert outcome.facts["phases"] == {"X": 1, "s": 2, "f": 1, "?": 2, "": 2}


def test_an_event_without_a_time_is_dropped(scanner: Scanner) -> None:
    outcome = scan(scanner, b'[{"ph":"X","name":"a"},{"ph":"X","ts":1e99,"name":"b"},{"ph":"X","ts":1}]')
    assert outcome.facts["rows"] == 1
    assert outcome.facts["strings"] == [b""]
    assert outcome.facts["defects"] == [("event_without_time", 2, 1), ("number_out_of_range", 1, 38)]


MEMORY = (
    b'[{"ph":"i","ts":1,"dur":9,"name":"[memory]","args":{"Addr":5,"Total Allocated":1024}},'
    b'{"ph":"I","ts":2,"args":{"Total Reserved":null}},{"ph":"i","ts":3,"args":{"Bytes":1}}]'
)


def test_memory_events_are_rows_where_their_columns_are_wanted(scanner: Scanner) -> None:
    outcome = scan(scanner, MEMORY)
    assert cells(outcome, "total_allocated") == [1024, None]
    assert cells(outcome, "duration") == [None, None]
    assert scan(scanner, MEMORY, columns=DEFAULT_COLUMNS).facts["rows"] == 0


def test_metadata_events(scanner: Scanner) -> None:
    text = b'[{"ph":"M","name":"process_\\u006eame","pid":1,"tid":"s 7","args":{"name": "p\\n"}},{"ph":"M","args":[]}]'
    outcome = scan(scanner, text)
    assert outcome.facts["metadata"] == [
        (b"process_name", b"1", b"s 7", b'{"name": "p\\n"}'),
        (b"", b"", b"", b""),
    ]


def test_long_metadata_is_cut_and_there_is_a_limit(scanner: Scanner, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 1_000_000
    if scanner is TWIN:
        limit = 2
        monkeypatch.setattr(_twin_event, "_METADATA_LIMIT", limit)
    long = b'{"ph":"M","name":"' + b"n" * (MIB + 1) + b'","args":{"name":"' + b"a" * MIB + b'"}}'
    text = b"[" + long + b',{"ph":"M"}' * (limit + 1) + b"]"
    outcome = scan(scanner, text, columns=DEFAULT_COLUMNS)
    assert len(outcome.facts["metadata"]) == limit
    assert [len(field) for field in outcome.facts["metadata"][0]] == [MIB, 0, 0, 0]
    beyond = ("oversized_metadata", 2, len(text) - len(b'{"ph":"M"},{"ph":"M"}]'))
    assert outcome.facts["defects"] == [("oversized_value", 2, 18), beyond]


def test_keys_with_any_character_in_them(scanner: Scanner) -> None:
    columns = [("start", "time", ("ts",), "event"), ("odd", "int", ('a", "b', "c:d", "e\\f"), "args")]
    args = (rb'{"a\", \"b":1}', b'{"c:d":2}', rb'{"e\\f":3}')
    text = b"[" + b",".join(event(b'"args":' + members) for members in args) + b"]"
    assert scan(scanner, text, columns=columns).columns["odd"].tolist() == [1, 2, 3]


def test_the_other_top_level_values_are_kept_raw(scanner: Scanner) -> None:
    text = b'\xef\xbb\xbf {"a": 1 ,"b":[ {"c":"d"} ],"a":NaN,"traceEvents":[],"\\u0065":"f\\n"} \n'
    outcome = scan(scanner, text)
    assert outcome.facts["header"] == {b"a": b"1", b"b": b'[ {"c":"d"} ]', b"e": b'"f\\n"'}
    assert outcome.facts["defects"] == [("bare_value", 1, text.index(b"NaN"))]
    assert (outcome.facts["top"], outcome.facts["events_seen"], outcome.facts["bytes_seen"]) == (
        "object",
        True,
        len(text),
    )


GOOD = b'{"ph":"X","ts":1}'


@pytest.mark.parametrize(
    ("text", "rows", "defects"),
    [
        (b"", 0, []),
        (b"[]", 0, []),
        (b"[" + GOOD + b"]", 1, []),
        (b"[" + GOOD, 1, [("truncated", 1, 18)]),
        (b"[" + GOOD + b",", 1, [("truncated", 1, 19)]),
        (b"[" + GOOD[:-1], 0, [("truncated_event", 1, 1), ("truncated", 1, 17)]),
        (b"[" + GOOD + GOOD + b"]", 2, [("missing_comma", 1, 18)]),
        (b"[," + GOOD + b",," + GOOD + b",]", 2, [("extra_comma", 3, 1)]),
        (b'[null,5,"a",[{}],' + GOOD + b"]", 1, [("event_not_object", 4, 1)]),
        (b"[" + GOOD + b"}," + GOOD + b"]", 2, [("event_not_object", 1, 18)]),
        (b'[{"ph":"X","ts":1,},' + GOOD + b"]", 1, [("broken_event", 1, 1)]),
        (b'[{"ph":"X" "ts":1},' + GOOD + b"]", 1, [("broken_event", 1, 1)]),
        (b'[{"ph":"X","ts"},' + GOOD + b"]", 1, [("broken_event", 1, 1)]),
        (b'[{"ph":"X","ts":},' + GOOD + b"]", 1, [("broken_event", 1, 1)]),
        (b'[{"ph":"X","ts":1\0},' + GOOD + b"]", 1, [("broken_event", 1, 1)]),
        (b'[{"ph":"X","name":"a,"ts":1},' + GOOD + b"]", 1, [("broken_event", 1, 1)]),
        (b'[{"ph":"X","ts":1,"args":{"Input type":["a,"b"]}},' + GOOD + b"]", 1, [("broken_event", 1, 1)]),
        (
            b'[{"ph":"X","ts":1 x,"args":{"id":5}},' + GOOD + b"]",
            1,
            [("broken_event", 1, 1), ("event_not_object", 1, 35)],
        ),
        (b"[" + GOOD + b"]junk[" + GOOD + b"]more", 2, [("trailing_data", 1, 19)]),
        (b"[" + GOOD + b'] {"traceEvents":[' + GOOD + b"]}", 2, []),
        (b'{"traceEvents":[' + GOOD + b'],"traceEvents":[' + GOOD + b"]}", 2, []),
        (b'{"traceEvents":null,"traceEvents":[' + GOOD + b"]}", 1, []),
        (b'{"a" 1,"traceEvents":[' + GOOD + b"]}", 1, [("broken_header", 1, 5)]),
        (b'{"a":["x" 1],"traceEvents":[' + GOOD + b"]}", 1, [("broken_header", 1, 10)]),
        (b'{"a":1 "b":2,,"traceEvents":[' + GOOD + b"]}", 1, [("missing_comma", 1, 7), ("extra_comma", 1, 13)]),
        (b'{"a":"x', 0, [("truncated", 1, 7)]),
        (b'{"a":"x\\u12', 0, [("truncated", 1, 11)]),
        (b'{"a":b\0,"traceEvents":[' + GOOD + b"]}", 1, [("broken_header", 1, 6)]),
        (b'{"a":,"traceEvents" : [' + GOOD + b"]}", 1, [("broken_header", 1, 5)]),
        (b'{"a"', 0, [("truncated", 1, 4)]),
        (b'[["a" 1],' + GOOD + b"]", 1, [("event_not_object", 1, 1), ("broken_event", 1, 6)]),
        (b'[{"ph":"X","ts":1,"x":["a\\', 0, [("truncated_event", 1, 1), ("truncated", 1, 26)]),
        (b'[{"ph":"X","ts":1,"x":["a" ', 0, [("truncated_event", 1, 1), ("truncated", 1, 27)]),
        (b'[{"ph":"X","ts":1,"x":["a\\u00e9\x01"]}]', 1, [("control_character", 1, 31)]),
        (b"version 1", 0, [("trailing_data", 1, 0)]),
    ],
)
def test_faults_between_and_within_events(
    scanner: Scanner, text: bytes, rows: int, defects: list[tuple[str, int, int]]
) -> None:
    outcome = scan(scanner, text)
    assert (outcome.facts["rows"], outcome.facts["defects"]) == (rows, defects)


@pytest.mark.parametrize("shape", [b'{"id":%s x}', b'{"id":1,"bp":[%s] x}'])
def test_faults_within_faults_take_linear_time(scanner: Scanner, shape: bytes) -> None:
    before, after = shape.split(b"%s")
    text = b"[" + before * 20_000 + after * 20_000 + b"," + GOOD + b"]"
    outcome = scan(scanner, text)
    assert outcome.facts["rows"] == 1
    assert outcome.facts["defects"][0][0] == "broken_event"


def test_a_broken_event_leaves_nothing_but_its_defect(scanner: Scanner) -> None:
    outcome = scan(scanner, b'[{"ph":"X","ts":1,"name":"a\\p","cat":NaN x},' + GOOD + b"]")
    assert outcome.facts["strings"] == [b""]
    assert outcome.facts["phases"] == {"X": 1}
    assert outcome.facts["defects"] == [("broken_event", 1, 1)]


def test_a_long_name_is_cut_and_a_long_argument_dropped(scanner: Scanner) -> None:
    text = b"[" + event(b'"name":"' + b"n" * (MIB + 1) + b'","args":{"grid":[' + b"1," * MIB + b"1]}") + b"]"
    outcome = scan(scanner, text)
    assert [len(string) for string in outcome.facts["strings"]] == [MIB]
    assert cells(outcome, "grid") == [None]
    assert outcome.facts["defects"] == [("oversized_value", 2, text.index(b'"n', 20))]


def test_a_long_header_value_is_dropped(scanner: Scanner) -> None:
    text = b'{"a":[' + b"1," * (2 * MIB) + b'1],"b":2,"' + b"k" * MIB + b'":3,"traceEvents":[' + GOOD + b"]}"
    outcome = scan(scanner, text)
    assert outcome.facts["header"] == {b"b": b"2"}
    assert outcome.facts["rows"] == 1
    assert outcome.facts["defects"] == [("oversized_value", 2, 5)]


def test_an_event_over_64_mib_is_dropped(scanner: Scanner) -> None:
    limit = 64 * MIB
    first = b'{"ph":"X","ts":1,"args":{"x":"'
    whole = first + b"y" * (limit - len(first) - 3) + b'"}}'
    text = b"[" + whole + b"," + whole.replace(b"y", b"yy", 1) + b"," + GOOD + b"]"
    outcome = scan(scanner, text, cuts=range(0, len(text), 5 * MIB))
    assert len(whole) == limit
    assert outcome.facts["rows"] == 2
    assert outcome.facts["defects"] == [("oversized_event", 1, limit + 2)]


def test_many_rows_and_columns_that_begin_late(scanner: Scanner) -> None:
    rows = 150_000
    text = b"[" + b",".join(
        b'{"ph":"X","ts":%d%s}' % (row, b',"args":{"stream":%d}' % row if row % 70_000 == 69_999 else b"")
        for row in range(rows)
    )
    outcome = scan(scanner, text + b"]")
    assert np.array_equal(outcome.columns["start"], np.arange(rows) * 1000)
    assert {row: value for row, value in enumerate(cells(outcome, "stream")) if value is not None} == {
        69_999: 69_999,
        139_999: 139_999,
    }


def test_wrong_use_is_an_error(scanner: Scanner) -> None:
    name = ("name", "text", ("name",), "event")
    for columns in ([name, name], [name, ("other", "text", ("name",), "event")], [("a", "float", ("a",), "args")]):
        with pytest.raises(ValueError, match=r".+"):
            scanner(columns)
    reader = scanner([name])
    with pytest.raises(ValueError, match="finish"):
        reader.column("name")
    reader.feed(b"[" + GOOD)
    reader.finish()
    reader.finish()
    with pytest.raises(ValueError, match="finish"):
        reader.feed(b"]")
    assert reader.column("name").tolist() == [0]
    for wrong in ("name", "duration"):
        with pytest.raises(ValueError, match="column"):
            reader.column(wrong)


def test_pieces_of_one_byte(scanner: Scanner) -> None:
    text = (
        b'\xef\xbb\xbf{"a":"\\u00e9","traceEvents":['
        + event(b'"name":"\\ud83d\\ude00\\p"')
        + b' , {"ph":"X" x},'
        + GOOD
        + b"]}"
    )
    whole = scan(scanner, text)
    with small_batches():
        pieces = scan(scanner, text, cuts=range(1, len(text)))
    assert pieces.facts == whole.facts
    assert whole.facts["rows"] == 2
