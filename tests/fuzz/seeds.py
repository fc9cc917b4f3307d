"""Documents to start from: hand-written ones, each nasty in its own way, and excerpts of real and recorded traces."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[2]
RECORDED = REPOSITORY / "traces"
SHARED = REPOSITORY.parent / "shared" / "traces"

_EVENT = b'{"ph":"X","cat":"cpu_op","name":"aten::mm","pid":1,"tid":2,"ts":10.5,"dur":3,"args":{"External id":7}}'
_FLOW = b'{"ph":"s","id":5,"pid":1,"tid":2,"ts":10,"cat":"ac2g","name":"ac2g"}'


def _in_list(*events: bytes) -> bytes:
    return b'{"schemaVersion":1,"traceEvents":[' + b",".join(events) + b'],"traceName":"t"}'


def _with_value(value: bytes) -> bytes:
    return _in_list(b'{"ph":"X","ts":1,"name":' + value + b',"args":{"stream":' + value + b',"grid":' + value + b"}}")


def _with_time(value: bytes) -> bytes:
    return _in_list(
        b'{"ph":"X","ts":' + value + b',"dur":"' + value + b'","args":{"correlation":' + value + b"}}", _EVENT
    )


VALUES = (
    b'"plain"',
    b'""',
    b'" 7 "',
    b'"-7.9"',
    b'"7e1"',
    b'"\\u0037"',
    b'"1_0"',
    b'"+1"',
    b"null",
    b"true",
    b"0",
    b"-0",
    b"-0.999",
    b"007",
    b"1.",
    b".5",
    b"+5",
    b"1e3",
    b"1.5E-1",
    b"2147483647",
    b"2147483648",
    b"4294967295",
    b"4294967296",
    b"-2147483647",
    b"-2147483648",
    b"[]",
    b"{}",
    b'[[1,2],["a","b"],[]]',
    b'[[[[1]]],{"a":{"b":[]}}]',
    b'["a" "b"]',
    b'["a":1}',
    b"[}",
    b"{]",
    b"[\0,NaN]",
    b"NaN",
    b"N/A",
    b"-inf",
    b"nan(ind)",
    b'nan"x"',
    b"tru",
    b"nulls",
    b"\0",
    b"a\0b",
    b'"a\tb\nc\x00d\x1fe\x7f"',
    b'"C:\\Users\\p\\x"',
    b'"\\u12"',
    b'"\\u12G4\\u"',
    b'"\\ud83d\\ude00 \\ud83d \\ude00\\ud83d\\ud83d\\ude00 \\uFFFF\\u0000"',
    b'"\\\x01\\\n"',
    b'"\\\\"',
    b'"\\"ts\\":1,\\"stream"',
    b'"\xff\xfe"',
    b'"\xed\xa0\x80"',
    b'"\xc0\xaf\xf4\x90\x80\x80"',
    '"h\u00e9 \u4e16\u754c \U0001f600"'.encode(),
    b'["\xff"]',
    b'"unterminated',
    b"[1,2",
    b"{",
    b"",
    b",",
    b"}",
    b"]",
    b":",
)

TIMES = (
    b"1419247332972.313",
    b"1712148711000000.999999",
    b"9223372036854775.807",
    b"9223372036854775.808",
    b"-9223372036854775.807",
    b"-9223372036854775.808",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"18446744073709551615",
    b"1.5e3",
    b"1.4E+15",
    b"15e-1",
    b"123456e-5",
    b"1e40",
    b"0e41",
    b"1e-41",
    b"1e-0000000040",
    b"1e99999999999999999999",
    b"0.0000000000000000000000000000000000000001e40",
    b"000000000000000000000000000001",
    b"1" + b"0" * 400,
    b"0." + b"0" * 400 + b"1",
    b"1.0005",
    b"-1.9999",
    b"-0.0009",
    b"0.1e1",
)

DOCUMENTS = (
    b"",
    b" \r\n\t",
    b"\xef\xbb\xbf",
    b"\xef\xbb",
    b"\xef\xbb\xbf" + _in_list(_EVENT),
    b" \xef\xbb\xbf" + _in_list(_EVENT),
    b"[]",
    b"{}",
    b"[" + _EVENT + b"," + _FLOW + b"]",
    b"[" + _EVENT + b"," + _FLOW + b",",
    _in_list(),
    _in_list(_EVENT, _FLOW, _EVENT),
    _in_list(_EVENT)[:-1],
    _in_list(_EVENT)[:60],
    _in_list(_EVENT, b"", _EVENT, b"", b""),
    _in_list(b"", _EVENT),
    _in_list(b""),
    _in_list(_EVENT + _EVENT + b" " + _FLOW),
    _in_list(_EVENT, b"null", b"1", b'"s\\p\t"', b"[1,[2]]", b"}", b":", b"NaN", _EVENT),
    _in_list(_EVENT, b'["a" 1]', _EVENT),
    _in_list(_EVENT, b'"a\\'),
    _in_list(_EVENT + b"}}", _EVENT),
    _in_list(b"{}", b"{ }", b'{"ph":1}', b'{"ph":null,"ts":1}', b'{"ph":""}', b'{"ph":"123456789"}', b'{"ph":"\xff"}'),
    _in_list(b'{"ph":"\\u0058","ts":1}', b'{"\\u0070h":"X","\\u0074s":2,"\\u0061rgs":{"str\\u0065am":3}}'),
    _in_list(b'{"ph":"X","ts":1,"ts":null,"ts":2,"ph":null,"name":"a","name":5,"args":{"device":0,"Device Id":1}}'),
    _in_list(b'{"ph":"X","ts":1,"args":{"device":null,"Device Id":1,"device":""},"args":5,"args":{"stream":3}}'),
    _in_list(b'{"ph":"X"}', b'{"ph":"X","ts":"x"}', b'{"ph":"X","ts":1e99,"dur":5}', b'{"ph":"X","ts":1,"dur":-5}'),
    _in_list(b'{"ph":"s","ts":1e99,"id":99999999999999999999}'),
    _in_list(b'{"ph":"i","ts":1,"dur":4,"s":"t","name":"[memory]","args":{"Total Allocated":1024,"Addr":1e99}}'),
    _in_list(b'{"ph":"I","ts":1,"args":{"Bytes":1}}', b'{"ph":"i","ts":1,"args":{"Addr":null}}', b'{"ph":"i"}'),
    _in_list(b'{"ph":"M","name":"process_name","pid":1,"tid":"stream 7","ts":0,"args":{"name":"py\\n", "x":[ ]}}'),
    _in_list(b'{"ph":"M"}', b'{"ph":"M","name":5,"pid":null,"tid":[1],"args":[1]}', b'{"ph":"M","args":{},"args":1}'),
    _in_list(b'{"ph":"X","ts":1,}', _EVENT, b'{"ph":"X" "ts":1}', _EVENT, b'{"ph" "X"}', b"{ph:1}", _FLOW),
    _in_list(b'{"ph":"X","ts":1,"name":"unterminated,"pid":1}', _EVENT),
    _in_list(b'{"ph":"X","ts":1,"args":{"Input type":["a,"b"]}}', _EVENT),
    _in_list(b'{"ph":"X","ts":1,"args":{"id":1,x}}', _EVENT),
    _in_list(b'{"ph":"X","ts":1,"args":{"x":{"id":{"tid":[[[[[' + _EVENT, _EVENT, _EVENT),
    b"[" + b'{"id":' * 50 + b" x}" * 50 + b"," + _EVENT + b"]",
    b"[" + b'{"id":1,"bp":[' * 50 + b"] x}" * 50 + b"," + _EVENT + b"]",
    _in_list(b'{"ph":"X","ts":1,"name":"a"\0}', _EVENT),
    _in_list(b'{"ph":"X","ts":1,"args":' + b"[" * 3000 + b"]" * 3000 + b',"name":"deep"}', _EVENT),
    _in_list(_EVENT) + b"\n" + _in_list(_FLOW) + b"[" + _EVENT + b"]",
    _in_list(_EVENT) + b"junk" + _in_list(_FLOW) + b" more junk",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    b'{"traceEvents":null,"traceEvents":[' + _EVENT + b'],"traceEvents":[' + _EVENT + b'],"traceEvents":{}}',
    b'{"a":1 "b":2,,"c":[1,{"d":"x"}],"d":NaN,"a":true,"e":"\\p\x01","\\u0066":"g",}',
    b'{"a":NaN',
    b'{"a":1',
    b'{"a":"\\u12',
    b'{"a":"\\p',
    b'{"a" 1,"traceEvents":[' + _EVENT + b"]}",
    b'{"a":,"traceEvents" : [' + _EVENT + b"]}",
    b'{a:1,"traceEvents":[' + _EVENT + b"]}",
    b'{"a":["x" 1],"traceEvents":[' + _EVENT + b"]}",
    b'{"a":\0,"traceEvents":[' + _EVENT + b"]}",
    b'{"a":b\0,"traceEvent',
    b'{"a":x"traceEvents":[' + _EVENT + b"]}",
    b'{"traceEvents" : [' + _EVENT + b'}, "other": 1}',
    b'{"trace\\u0045vents":[' + _EVENT + b"]}",
    *map(_with_value, VALUES),
    *map(_with_time, TIMES),
)


def trace_files() -> list[Path]:
    """Every Chrome trace at hand, smallest first: the recorded ones of this repository, and a shared collection."""
    files = [*RECORDED.glob("*.json.gz"), *SHARED.glob("**/*.json"), *SHARED.glob("**/*.json.gz")]
    return sorted(
        (file for file in files if file.name != "MANIFEST.json"), key=lambda file: (file.stat().st_size, file)
    )


def read_trace(file: Path) -> bytes:
    """The content of a trace, decompressed as far as it goes."""
    content = file.read_bytes()
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error):
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(content)


def excerpts(document: bytes, rng: random.Random, count: int) -> Iterator[bytes]:
    """Short documents out of a long one: its head, then a few of its events, then its tail."""
    starts = [match.start() for match in re.finditer(rb'\{\s*"(?:ph|name|cat)"', document)]
    if len(starts) < 8:
        yield document[:20_000]
        return
    for _ in range(count):
        first = rng.randrange(len(starts) - 1)
        last = min(first + rng.randrange(1, 20), len(starts) - 1)
        head = document[: starts[0]][-rng.randrange(40, 3000) :]
        opening = (
            b'{"traceEvents":[' if b"traceEvents" not in head or rng.random() < 0.5 else b"{" + head[head.find(b'"') :]
        )
        yield opening + document[starts[first] : starts[last]] + rng.choice((b"{}]}", b"", document[-200:]))
