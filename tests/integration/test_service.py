"""Services as processes of their own: loaded, traced, diagnosed, every request accounted for."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import perfkit
from tests.integration.services import (
    INSTRUMENTED,
    READY,
    THREADED,
    UNMODIFIED,
    Running,
    answer,
    ask,
    diagnose,
    left_behind,
    names_in,
    running,
    start,
    wait_for,
)
from tests.unit.cli.command_line import COMMAND

if TYPE_CHECKING:
    from collections.abc import Iterator

for module in ("torch", "uvicorn", "starlette", "aiohttp", "hdrh"):
    pytest.importorskip(module, reason=f"{module} is not installed")

pytestmark = pytest.mark.alone

SLOW = (sys.executable, "-m", "benchmarks.programs.slow_service")
ALL_ELSEWHERE = "All requests may have gone to another process of the service, of which there is no trace."
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="abstract sockets and /proc are Linux's")


@pytest.fixture(scope="module", params=["blocking", "none"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    with running(folder, *SLOW, "--fault", request.param, "--profile-into", str(folder / "traces")) as service:
        yield service


@pytest.fixture(scope="module")
def unmodified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("unmodified"), *READY, *UNMODIFIED) as service:
        yield service


def test_every_request_is_in_the_trace_and_in_the_log(service: Running, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"inputs": [[1, 2, 3]]}')
    options = ("--rate", "40", "--duration", "1s", "--traced", "1s", "--stacks", "--shapes", "--format", "json")
    before = len(service.served())
    done = diagnose("--url", service.url, "--body", body, *options, folder=tmp_path)
    assert done.returncode == 0, done
    found = answer(done.stdout)
    load, split = found["load"], found["load"]["split"]
    assert load["traced_by"] == "/start_profile"
    assert load["stretch"]["sent"] == load["stretch"]["answered"] == 40
    assert split["sent"] == split["marked"] == split["split"] == split["latency"]["number"] == 40
    assert (split["edge"], split["lost"], split["others"], split["linked"]) == (0, [], 0, "marks")
    names = service.served()[before:]
    assert len(names) == 3 + 80
    assert len(set(names)) == len(names)
    # The parts of a request are all of it.
    assert sum(split["mean_ns"].values()) == pytest.approx(split["latency"]["mean_ns"], rel=0.01)
    assert split["mean_ns"]["device"] > 0
    assert found["timelines"][0]["idle"]["no_request"] > 0
    assert load["service"]["source"] == "marks"
    # The profiler did as it was told.
    names_of_rows = names_in(Path(found["trace"]["path"]))
    assert any("slow_service.py(" in name for name in names_of_rows)
    assert not list(tmp_path.glob("perfkit-*"))


@linux
def test_an_unmodified_service_is_found_by_its_port(unmodified: Running, tmp_path: Path) -> None:
    before = len(unmodified.served())
    options = ("--rate", "40", "--duration", "1s", "--traced", "1s", "--folder", "kept", "--format", "json")
    done = diagnose("--url", unmodified.url, *options, folder=tmp_path)
    assert done.returncode == 0, done
    found = answer(done.stdout)
    load, split = found["load"], found["load"]["split"]
    assert load["traced_by"] == f"pid {unmodified.pid}"
    assert split["sent"] == split["marked"] + split["edge"]
    assert (split["lost"], split["others"], split["processes"], split["elsewhere"]) == ([], 0, 1, 0)
    assert 10 <= split["marked"] <= 80
    # Its marks are requests that were served, each once, and none is there that was not.
    names = names_in(tmp_path / "kept" / Path(found["trace"]["path"]).name)
    marks = {name.removeprefix("perfkit.request #") for name in names if name.startswith("perfkit.request #")}
    served = unmodified.served()[before:]
    assert marks <= set(served)
    assert split["marked"] <= len(marks) <= split["marked"] + split["edge"]
    assert len(set(served)) == len(served)
    # What was sent while the recording was set up and written is counted, too.
    assert load["around"]["sent"] == load["around"]["answered"] > 0
    assert load["warm_up"] == {"sent": 3, "answered": 3, "errors": {}}
    counted = load["warm_up"]["sent"] + load["stretch"]["sent"] + split["sent"] + load["around"]["sent"]
    assert counted == len(served)
    assert names["aten::cumsum"] > 20  # of another thread
    assert found["recording"]["processes"][0]["pid"] == unmodified.pid
    assert sorted(path.name for path in (tmp_path / "kept").iterdir())[0] == "recording.json"
    assert perfkit.diagnose(tmp_path / "kept").attribution.timelines


@linux
def test_requests_on_a_pool_of_threads_are_split_though_several_are_served_at_once(tmp_path: Path) -> None:
    with running(tmp_path, *READY, *THREADED) as service:
        options = ("--rate", "25", "--duration", "300ms", "--traced", "1s", "--format", "json")
        done = diagnose("--url", service.url, *options, folder=tmp_path)
        assert done.returncode == 0, done
        found = answer(done.stdout)
        split, idle = found["load"]["split"], found["timelines"][0]["idle"]
        assert (split["linked"], split["lost"]) == ("marks", [])
        assert split["split"] == split["marked"] > 5
        assert sum(split["mean_ns"].values()) < 1.2 * split["latency"]["mean_ns"]
        # A thread of the pool has nothing to do but for the requests that it was given.
        assert found["timelines"][0]["busy"]["compute"] > 0
        assert sum(ns for cause, ns in idle.items() if cause.startswith("unattributed")) < 0.02 * sum(idle.values())
        # Nobody asks it for anything now.
        done = diagnose("--pid", str(service.pid), "--duration", "300ms", folder=tmp_path)
        assert done.stdout.startswith("Nothing ran while it was recorded: ")


@linux
def test_stacks_of_a_pool_of_threads_tell_waiting_from_work(tmp_path: Path) -> None:
    with running(tmp_path, *THREADED) as service:
        ask(service, "first")  # so that there is a thread in the pool
        done = diagnose("--pid", str(service.pid), "--duration", "1s", "--folder", "idle", folder=tmp_path)
        if "may not be read" in done.stderr:
            pytest.skip("this machine lets nobody read another process's memory")
        assert done.stdout.startswith("The busiest thread waits for work all the time: nothing was asked of the"), done
        options = ("--pid", str(service.pid), "--rate", "25", "--duration", "2s", "--traced", "1s")
        done = diagnose("--url", service.url, *options, "--folder", "busy", "--format", "json", folder=tmp_path)
        line, verdict = answer(done.stdout)["timelines"][0], answer(done.stdout)["verdict"]
    assert set(line["idle"]) == {"no_work", "python"}
    assert 0 < line["idle"]["no_work"] < sum(line["idle"].values())
    assert "threaded.py(" in verdict
    assert "AnyIO worker thread" in line["id"]


@linux
def test_steps_of_a_service_are_requests(unmodified: Running, tmp_path: Path) -> None:
    attached = start("diagnose", "--pid", str(unmodified.pid), "--steps", "7", "--folder", "kept", folder=tmp_path)
    ask_until_it_ends(unmodified, attached)
    out, said = attached.communicate(timeout=300)
    assert attached.returncode == 0, said
    names = names_in(next((tmp_path / "kept").glob("trace-*")))
    assert sum(times for name, times in names.items() if name.startswith("perfkit.request #")) == 7
    assert names["aten::cumsum"] > 0
    assert "Where the time goes" in out


def ask_until_it_ends(service: Running, process: Any) -> None:
    """Send one request after the other while a process runs."""
    import urllib.request

    number, until = 0, time.monotonic() + 300
    while process.poll() is None and time.monotonic() < until:
        number += 1
        asked = urllib.request.Request(service.url, b"", {"X-Perfkit-Request": f"one-{number}"})
        urllib.request.urlopen(asked, timeout=60).read()
        time.sleep(0.02)


@linux
def test_all_workers_are_traced_at_the_same_time(tmp_path: Path) -> None:
    with running(tmp_path, *READY, *UNMODIFIED, "--workers", "2", ready=2) as service:
        options = ("--rate", "60", "--duration", "500ms", "--traced", "1s", "--format", "json")
        done = diagnose("--url", service.url, *options, folder=tmp_path)
        assert done.returncode == 0, done
        split = answer(done.stdout)["load"]["split"]
        assert (split["processes"], split["elsewhere"], split["lost"], split["others"]) == (2, 0, [], 0)
        assert split["marked"] > 15
        assert split["seconds"] > 0.5
        workers = sorted(set(service.served_by().values()))
        assert len(workers) == 2
        assert service.pid not in workers
        # Without a load of perfkit's, the process that was started stands for those that it started.
        done = diagnose("--pid", str(service.pid), "--duration", "300ms", "--folder", "both", folder=tmp_path)
        assert done.returncode == 0, done
        assert {path.name for path in (tmp_path / "both").glob("trace-*")} == {
            f"trace-{pid}.json.gz" for pid in workers
        }
        assert "\nProcesses\n" in done.stdout
        assert "ank" not in done.stdout
        # One of them alone is traced where it is named: the rest is said to have gone elsewhere.
        for _ in range(5):  # at times the other one takes all connections
            done = diagnose("--url", service.url, "--pid", str(workers[0]), *options, folder=tmp_path)
            if split := answer(done.stdout)["load"]["split"]:
                break
        assert split, done
        assert (split["processes"], split["elsewhere"]) == (1, 1)
        assert split["lost"]
        by = service.served_by()
        assert {by[name] for name in split["lost"]} == {workers[1]}


@linux
def test_of_several_instrumented_workers_the_one_that_was_started_is_stopped(tmp_path: Path) -> None:
    place = tmp_path / "traces"
    with running(tmp_path, *INSTRUMENTED, "--workers", "2", ready=2, PROFILE_INTO=str(place)) as service:
        options = ("--rate", "40", "--duration", "500ms", "--traced", "1s", "--format", "json")
        whole = runs = 0
        while whole < 2:  # and so none is left with a profiler that runs
            done = diagnose("--url", service.url, *options, folder=tmp_path)
            assert done.returncode == 0, done
            found, runs = answer(done.stdout), runs + 1
            split = found["load"]["split"]
            assert found["load"]["traced_by"] == "/start_profile"
            if split is None and runs < 10:  # at times the other one takes all connections
                assert found["load"]["notes"] == [ALL_ELSEWHERE]
                continue
            assert (split["processes"], split["elsewhere"], split["others"]) == (1, 1, 0)
            marks = (name for name in names_in(Path(found["trace"]["path"])) if name.startswith("perfkit.request #"))
            by = service.served_by()
            assert len({by[name.removeprefix("perfkit.request #")] for name in marks}) == 1
            assert split["marked"] > 0
            whole += 1
    assert len(list(place.iterdir())) == runs  # and nothing else


@linux
def test_a_service_that_is_killed_while_it_is_traced_leaves_what_was_timed(tmp_path: Path) -> None:
    before = left_behind()
    with running(tmp_path, *READY, *UNMODIFIED) as service:
        options = ("--rate", "20", "--duration", "500ms", "--traced", "60s", "--format", "json")
        loading = start("diagnose", "--url", service.url, *options, folder=tmp_path)
        wait_for(lambda: list(tmp_path.glob("perfkit-*/trace_*.tmp")) or loading.poll() is not None)
        os.kill(service.pid, signal.SIGKILL)
        out, said = loading.communicate(timeout=300)
    assert loading.returncode == 0, said
    load = answer(out)["load"]
    assert load["stretch"]["answered"] == 10
    around = load["around"]  # whether one was under way then, or was sent after, is a matter of milliseconds
    assert around["sent"] == around["answered"] + sum(around["errors"].values())
    (note,) = load["notes"]
    assert note.startswith(f"No trace: process {service.pid} was killed by SIGKILL while it was recorded, so its trace")
    assert left_behind() <= before
    assert not list(tmp_path.glob("perfkit-*"))


def test_a_service_that_is_killed_while_it_is_recorded_leaves_its_requests(tmp_path: Path) -> None:
    command = (*COMMAND, "record", "-o", str(tmp_path / "kept"), "--after", "0s", "--duration", "60s", "--")
    with running(tmp_path, *command, *UNMODIFIED) as service:
        wait_for(lambda: any('"recording"' in file.read_text() for file in tmp_path.glob("kept/.work/*.status")))
        for number in range(5):
            ask(service, f"one-{number}")
        wait_for(lambda: any(b"one-4" in file.read_bytes() for file in tmp_path.glob("kept/.work/*.journal.json")))
        pid = int(next(tmp_path.glob("kept/.work/*.status")).name.partition(".")[0])
        os.kill(pid, signal.SIGKILL)
        service.process.wait(300)
        assert service.process.returncode == 128 + signal.SIGKILL
    (trace,) = tmp_path.glob("kept/trace-*")
    assert {f"perfkit.request #one-{number}" for number in range(5)} <= set(names_in(trace))
    diagnosis = perfkit.diagnose(tmp_path / "kept")
    assert diagnosis.attribution.timelines
    assert diagnosis.recording is not None
    assert diagnosis.recording.processes[0].how == "the program was killed"


@linux
def test_a_service_is_recorded_from_its_start(tmp_path: Path) -> None:
    place = tmp_path / "kept"
    command = (*COMMAND, "record", "-o", str(place), "--after", "0s", "--duration", "5s", "--stop", "--")
    with running(tmp_path, *command, *UNMODIFIED) as service:
        wait_for(lambda: any('"recording"' in file.read_text() for file in place.glob(".work/*.status")))
        for number in range(5):
            ask(service, f"one-{number}")
        assert service.process.wait(300) == 0
    (trace,) = place.glob("trace-*")
    names = names_in(trace)
    assert [names[f"perfkit.request #one-{number}"] for number in range(5)] == [1] * 5
    assert names["aten::addmm"] == 2 * 5
    assert names["aten::cumsum"] > 20
    assert perfkit.diagnose(place).attribution.timelines


@pytest.mark.parametrize("service", ["none"], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_it_is_traced_leaves_nothing_running(number: int, service: Running, tmp_path: Path) -> None:
    before, served = left_behind(), len(service.served())
    loading = start("diagnose", "--url", service.url, "--duration", "200ms", "--traced", "60s", folder=tmp_path)
    # Three requests to warm up, two that are timed; the profiler runs from the next one on.
    wait_for(lambda: len(service.served()) > served + 5 or loading.poll() is not None)
    loading.send_signal(number)
    out, said = loading.communicate(timeout=300)
    assert (loading.returncode, out) == (130, ""), said
    assert not profiling(service)
    assert left_behind() <= before
    assert not list(tmp_path.iterdir())


def profiling(service: Running) -> bool:
    """Whether its profiler runs; asked for by starting it, which is refused while it does."""
    import urllib.error
    import urllib.request

    place = service.url.removesuffix("/predict")
    try:
        urllib.request.urlopen(urllib.request.Request(f"{place}/start_profile", b"{}"), timeout=60).read()
    except urllib.error.HTTPError as error:
        return error.code == 409
    urllib.request.urlopen(urllib.request.Request(f"{place}/stop_profile", b"{}"), timeout=60).read()
    return False


@linux
def test_an_interrupt_while_it_attaches_leaves_nothing_running(unmodified: Running, tmp_path: Path) -> None:
    before = left_behind()
    loading = start("diagnose", "--url", unmodified.url, "--duration", "200ms", "--traced", "60s", folder=tmp_path)
    wait_for(lambda: list(tmp_path.glob("perfkit-*/.work")) or loading.poll() is not None)
    loading.send_signal(signal.SIGINT)
    out, said = loading.communicate(timeout=300)
    assert (loading.returncode, out) == (130, ""), said
    assert left_behind() <= before
    assert not list(tmp_path.iterdir())


def test_a_service_without_marks_is_timed_all_the_same(tmp_path: Path) -> None:
    with running(tmp_path, *SLOW, "--bare") as service:
        options = ("--rate", "20", "--duration", "1s", "--traced", "500ms")
        done = diagnose("--url", service.url, *options, folder=tmp_path)
        text = " ".join(done.stdout.split())
        assert done.returncode == 0
        assert "20 answered well" in text
        assert "There is no trace of the service: start it with `perfkit run -- uvicorn ...`" in text
        assert not list(tmp_path.glob("perfkit-*"))
