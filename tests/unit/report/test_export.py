from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

import perfkit
from perfkit.attribute.picture import depict
from perfkit.report.export import perfetto, pprof, speedscope
from perfkit.report.labels import kind_label
from tests.unit.attribute.hand_made import LAUNCH, MS, launched, loader, mark, operator, stack, trace
from tests.unit.cli.command_line import fail, run
from tests.unit.cli.command_line import trace as sample

if TYPE_CHECKING:
    from perfkit.model.picture import Picture

# Of the package speedscope on npm, under the licence beside it.
SCHEMA = json.loads((Path(__file__).parent / "data" / "speedscope-file-format-schema.json").read_text("utf-8"))
HOSTILE = "<script>\x1b[31m\u2028"


@pytest.fixture(scope="module")
def picture() -> Picture:
    return depict(perfkit.load(sample()), whole=True)


def hostile() -> Picture:
    rows = []
    for step in range(3):
        at = step * 10 * MS
        rows += [mark(step, at, at + 10 * MS), loader(at, at + 4 * MS), stack("a.py(7): f", at, at + 9 * MS)]
        rows += [operator(HOSTILE, at + 4 * MS, at + 6 * MS)]
        rows += launched(step + 1, (at + 5 * MS, at + 5 * MS + 1000), (at + 5 * MS + 2000, at + 9 * MS), name=HOSTILE)
    return depict(trace(rows), whole=True)


def test_perfetto_gets_every_event_and_who_owns_the_time(picture: Picture) -> None:
    recorded = perfkit.load(sample())
    events = json.loads(perfetto.draw(picture, "sample"))["traceEvents"]
    complete = [event for event in events if event["ph"] == "X"]
    owners = [event for event in complete if event["cat"].startswith("perfkit.")]
    (line,) = perfkit.diagnose(recorded).attribution.timelines
    found: Counter[str] = Counter()
    for event in owners:
        found[event["name"]] += round(event["dur"] * 1000)
    expected = {kind_label(name): ns for name, ns in (*line.busy.items(), *line.idle.items()) if ns}
    assert found == Counter(expected)
    names = Counter(event["name"] for event in complete if not event["cat"].startswith("perfkit."))
    table = recorded.to_pandas()
    for name, count in table[table["category"] == "operator"]["name"].value_counts().items():
        assert names[name] == count
    named = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"}
    assert {(event["pid"], event["tid"]) for event in complete} <= named
    assert all(event["ts"] >= 0 and event["dur"] >= 0 for event in complete)


def test_perfetto_gets_shapes_and_an_arrow_for_each_launch() -> None:
    rows = [operator("aten::mm", 0, 20_000, shapes="[[2, 3], [3, 4]]")]
    rows += launched(7, (1_000, 5_000), (9_000, 30_000))
    rows += launched(8, (6_000, 8_000), (30_000, 40_000), name="second")
    events = json.loads(perfetto.draw(depict(trace(rows), whole=True), "sample"))["traceEvents"]
    (product,) = [event for event in events if event["name"] == "aten::mm" and event["ph"] == "X"]
    assert product["args"] == {"Input Dims": "[[2, 3], [3, 4]]"}
    place = {(event["pid"], event["tid"], event["ts"]): event["name"] for event in events if event["ph"] == "X"}
    ends = {phase: {e["id"]: e for e in events if e["ph"] == phase} for phase in "sf"}
    assert ends["s"].keys() == ends["f"].keys()
    joined = [
        tuple(place[end["pid"], end["tid"], end["ts"]] for end in (ends["s"][number], ends["f"][number]))
        for number in sorted(ends["s"])
    ]
    assert joined == [(LAUNCH, "gemm"), (LAUNCH, "second")]
    assert all(end["bp"] == "e" for end in ends["f"].values())


def test_speedscope_keeps_to_its_schema_and_to_the_flame_graphs(picture: Picture) -> None:
    for one in (picture, hostile()):
        document = json.loads(speedscope.draw(one, "sample"))
        jsonschema.validate(document, SCHEMA)
        assert len(document["profiles"]) == len(one.flames) > 0
        for profile, flame in zip(document["profiles"], one.flames, strict=True):
            assert sum(profile["weights"]) == profile["endValue"] == flame.self_ns.sum()
            assert all(frame < len(document["shared"]["frames"]) for stack in profile["samples"] for frame in stack)


def test_pprof_is_read_back_as_the_flame_graphs() -> None:
    one = hostile()
    profile: Any = pprof.message_class()()
    profile.ParseFromString(gzip.decompress(pprof.draw(one, "sample")))
    texts = list(profile.string_table)
    assert texts[0] == ""
    assert [texts[kind.type] for kind in profile.sample_type] == ["device", "host"]
    functions = {function.id: function for function in profile.function}
    places = {location.id: functions[location.line[0].function_id] for location in profile.location}
    totals: defaultdict[tuple[str, ...], int] = defaultdict(int)
    for found in profile.sample:
        totals[tuple(texts[places[place].name] for place in reversed(found.location_id))] += found.value[0]
    kernel = 2 * (4 * MS - 2000)
    assert {path: ns for path, ns in totals.items() if ns} == {("f", HOSTILE, HOSTILE): kernel}
    (line,) = [function for function in profile.function if texts[function.name] == "f"]
    assert (texts[line.filename], line.start_line) == ("a.py", 7)


def test_the_wire_format_is_that_of_pprof() -> None:
    """Read without protobuf: the fields of a profile by number, as profile.proto numbers them."""
    data, at, found = gzip.decompress(pprof.draw(hostile(), "sample")), 0, Counter[int]()

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        field, wire = divmod(varint(), 8)
        found[field] += 1
        length = varint()
        at += length if wire == 2 else 0
        assert wire in (0, 2)
    assert found[1] == 2
    assert set(found) == {1, 2, 4, 5, 6, 10, 13, 14}


@pytest.mark.parametrize("to", ["perfetto", "speedscope", "pprof"])
def test_the_command_writes_the_file(to: str, tmp_path: Path) -> None:
    output = tmp_path / "out.gz"
    done = run("export", sample(), "--to", to, "-o", output)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert len(gzip.decompress(output.read_bytes())) > 1000


def test_standard_output_takes_what_is_exported() -> None:
    assert json.loads(run("export", sample(), "--to", "speedscope", "-o", "-").stdout)["profiles"]
    assert gzip.decompress(run("export", sample(), "--to", "pprof", "-o", "-").stdout)


def test_one_of_several_ranks_has_to_be_named(tmp_path: Path) -> None:
    for name in ("rank-0.json.gz", "rank-1.json.gz"):
        (tmp_path / name).write_bytes(sample().read_bytes())
    asked = ("export", tmp_path, "--to", "speedscope", "-o", "-")
    assert "say which one, as in --rank 0" in fail(*asked)
    assert run(*asked, "--rank", "1").returncode == 0


def test_what_cannot_be_exported_is_one_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty.json"
    empty.write_text('{"traceEvents": []}')
    message = fail("export", empty, "--to", "speedscope", "-o", tmp_path / "out.json")
    assert "nothing for a flame graph" in message
    assert "trace itself" in fail("export", empty, "--to", "perfetto", "-o", empty)
