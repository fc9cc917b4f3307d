"""A server of which everything is known, and what the command line says of it."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

import pytest

from tests.integration.services import UVICORN, answer, diagnose, names_in, running

if TYPE_CHECKING:
    from pathlib import Path

for module in ("torch", "uvicorn", "aiohttp", "hdrh"):
    pytest.importorskip(module, reason=f"{module} is not installed")

pytestmark = pytest.mark.alone
STUB = (*UVICORN, "tests.integration.programs.stub:app")
RATE, SECONDS = 50, 4


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the folder of the traces is read from /proc")
def test_a_stream_of_tokens_of_a_server_that_profiles_itself(tmp_path: Path) -> None:
    folder = tmp_path / "traces"
    folder.mkdir()
    with running(tmp_path, *STUB, VLLM_TORCH_PROFILER_DIR=str(folder)) as stub:
        options = ("--rate", "15", "--arrivals", "constant", "--duration", "2s", "--traced", "1s", "--format", "json")
        place = stub.url.removesuffix("/predict")
        done = diagnose("--url", place, "--openai", "--model", "tiny", *options, folder=tmp_path)
        lines = stub.lines()
    assert done.returncode == 0, done
    found = answer(done.stdout)
    load, tokens = found["load"], found["load"]["tokens"]
    assert load["stretch"]["answered"] == 30
    # What the server's log says, of the requests before it was traced; they may take some ms to be read.
    log = [[int(word) for word in line.split()[2:]] for line in lines][3 : 3 + 30]
    first = median(times[1] - times[0] for times in log) / 1e6
    between = median(later - earlier for times in log for earlier, later in pairwise(times[1:])) / 1e6
    assert first >= 80
    assert first - 1 < tokens["first"]["p50_ns"] / 1e6 < first + 60
    assert tokens["between"]["p50_ns"] / 1e6 == pytest.approx(between, abs=8)
    assert tokens["per_token"]["p50_ns"] / 1e6 == pytest.approx(between, abs=8)
    assert (tokens["tokens"], tokens["counted"], tokens["between"]["number"]) == (30 * 8, "usage", 30 * 7)
    # It was told where to write by its environment alone, and what it wrote is what ran: a product for each token.
    (trace,) = folder.iterdir()
    assert (load["traced_by"], found["trace"]["path"]) == ("/start_profile", str(trace))
    assert names_in(trace)["aten::addmm"] == 15 * 8
    assert found["timelines"][0]["busy"]["compute"] > 0
    assert load["split"] is None


def test_a_stall_is_charged_to_every_request_that_was_due_meanwhile(tmp_path: Path) -> None:
    with running(tmp_path, *STUB) as stub:
        options = ("--rate", str(RATE), "--arrivals", "constant", "--duration", f"{SECONDS}s", "--traced", "0")
        done = diagnose("--url", stub.url, *options, "--format", "json", folder=tmp_path)
        log = [line.split()[1:] for line in stub.lines()]
    assert done.returncode == 0, done
    stretch = answer(done.stdout)["load"]["stretch"]
    assert stretch["sent"] == stretch["answered"] == RATE * SECONDS
    # What wrk2 would say, from the log of the server alone: each request was due at its number over the rate, after
    # the moment that explains all arrivals best.
    rows = [(int(name.partition("-")[2]), int(came), int(ended)) for name, came, ended in log if "warm-up" not in name]
    assert sorted(number for number, _, _ in rows) == list(range(RATE * SECONDS))
    begun = min(came - number * 1_000_000_000 // RATE for number, came, _ in rows)
    expected = sorted(ended - begun - number * 1_000_000_000 // RATE for number, _, ended in rows)
    p99 = expected[int(0.99 * len(expected))]
    assert p99 > 0.9e9
    assert stretch["latency"]["p99_ns"] == pytest.approx(p99, rel=0.1)
    assert sum(latency > 10_000_000 for latency in expected) >= RATE  # a second of them, at least


def test_capacity_is_found_and_what_breaks_it_first_is_said(tmp_path: Path) -> None:
    with running(tmp_path, *STUB, STUB_SERVICE_S="0.01") as stub:
        options = ("--rate", "40", "--duration", "500ms", "--traced", "0", "--find-capacity", "--slo", "p80=150ms")
        done = diagnose("--url", stub.url, *options, "--format", "json", folder=tmp_path)
    assert done.returncode == 0, done
    found = answer(done.stdout)["load"]["capacity"]
    assert 20 <= found["holds_per_s"] < 140  # it does 100 a second, and half a second of more is no long queue yet
    assert found["holds_per_s"] < found["breaks_per_s"] <= 160
    assert found["first"].startswith(("the queue", "the tail"))
    assert json.dumps(found["objective"]) == '{"quantile": 0.8, "limit_ns": 150000000}'
