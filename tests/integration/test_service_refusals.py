"""What `perfkit diagnose --url` refuses: one line, exit code 2, nothing left running and nothing left behind."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.services import READY, UNMODIFIED, ask, diagnose, refusal, running, start, wait_for
from tests.unit.cli.command_line import COMMAND, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.disk import Disk

pytest.importorskip("aiohttp", reason="the extra `serve` is not installed")

pytestmark = pytest.mark.alone
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
BRIEF = ("--duration", "200ms", "--traced", "2s")
FAST = """
import asyncio
class Protocol(asyncio.Protocol):
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data):
        asked = data.count(b"\\r\\n\\r\\n") if data[:1] in b"GP" else -1
        self.transport.write(ANSWER * asked if asked >= 0 else b"HTTP/1.1 400 Bad\\r\\n\\r\\n")
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}"
async def main():
    server = await asyncio.get_running_loop().create_server(Protocol, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def fast() -> Iterator[str]:
    """The URL of a service that answers everything with ``{}``, much faster than anybody can ask."""
    process = subprocess.Popen([sys.executable, "-c", FAST], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield f"http://127.0.0.1:{int(process.stdout.readline())}/"
    process.kill()
    process.communicate()


def test_a_dead_service(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    said = refusal("--url", url, folder=tmp_path)
    assert said == f"{url}: connection refused: check that the service runs, and its host and port"


def test_tls_that_is_none(fast: str, tmp_path: Path) -> None:
    said = refusal("--url", fast.replace("http:", "https:"), folder=tmp_path)
    assert "TLS" in said
    assert "--insecure" in said


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_certificate_that_nobody_signed(tmp_path: Path) -> None:
    import ssl

    from tests.unit.serve.servers import OneAtATime, served

    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with served({"/": OneAtATime(0.0).answer}, context) as url:
        said = refusal("--url", f"{url}/", folder=tmp_path)
        assert "TLS: " in said
        assert "self-signed certificate" in said
        assert said.endswith("check the certificate and the scheme, or give --insecure to take any")
        done = diagnose(*("--url", f"{url}/", "--insecure", "--duration", "300ms", "--traced", "0"), folder=tmp_path)
        assert done.returncode == 0, done


def test_an_answer_that_is_no_json_of_a_stream(fast: str, tmp_path: Path) -> None:
    said = refusal("--url", fast, "--openai", "--model", "tiny", folder=tmp_path)
    assert "answer" in said
    assert said.endswith("with --openai the service has to be OpenAI-compatible, and --model one that it serves")


def test_a_rate_that_this_machine_cannot_send(fast: str, tmp_path: Path) -> None:
    said = refusal("--url", fast, "--rate", "60000", "--duration", "1s", "--traced", "0", folder=tmp_path)
    assert said.startswith("this machine sent ")
    assert "of the 60000 requests/s asked for" in said
    assert "give a lower --rate" in said


@linux
def test_a_process_that_is_not_there(fast: str, tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    said = refusal("--url", fast, "--pid", str(gone.pid), folder=tmp_path)
    assert said == f"there is no process {gone.pid}: give the id of a Python process that runs"


@linux
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_the_process_of_another_user(fast: str, tmp_path: Path) -> None:
    """perfkit is run by a user whom nothing belongs to; its modules are imported before, for it may not read them."""
    code = (
        "import os, sys, pwd, aiohttp, hdrh.histogram, rich.console, perfkit.cli.diagnose, perfkit.pipeline.load, "
        "perfkit.cli.settings, perfkit.advise.registry, perfkit.cli.progress, perfkit.record;"
        "from perfkit.advise.registry import installed; installed(); 'x'.encode('idna'); from perfkit.cli import main;"
        "os.setgid(65534); os.setuid(pwd.getpwnam('nobody').pw_uid); main()"
    )
    place = Path("/tmp")
    command = ["diagnose", "--url", fast, "--pid", str(os.getpid())]
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=place,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr == f"perfkit: error: process {os.getpid()} belongs to root: run perfkit as that user\n"


@linux
def test_a_full_disk(fast: str, tmp_path: Path) -> None:
    """A small file system in a mount namespace of its own, where that can be made."""
    place = tmp_path / "small"
    place.mkdir()
    command = " ".join([*COMMAND, "diagnose", "--url", fast, "--folder", str(place / "out")])
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs -o size=1m none {place} && {command}; echo $?; ls {place}"],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=300,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("no file system can be made here")
    assert done.stdout.split() == ["2"]
    assert done.stderr.startswith(f"perfkit: error: the disk of {place / 'out'} has ")
    assert len(done.stderr.splitlines()) == 1


@linux
def test_a_disk_that_fills_up_while_the_service_is_traced(small_disk: Disk, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the service uses torch")
    folder = small_disk.place / "out"
    with running(tmp_path, *READY, *UNMODIFIED) as service:
        loading = start("diagnose", *("--url", service.url, "--folder", str(folder)), *BRIEF, folder=tmp_path)
        wait_for(lambda: list(folder.glob("trace_*.tmp")) or loading.poll() is not None)
        small_disk.fill()
        out, said = loading.communicate(timeout=60)
        assert (loading.returncode, out) == (2, "")
        (line,) = said.splitlines()
        assert line.startswith(f"perfkit: error: {folder} cannot be written: No space left on device. Make room, or")
        assert list(small_disk.place.iterdir()) == [small_disk.filler]
        ask(service, "afterwards")  # the service goes on


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/"
    assert "--allow-remote" in refusal("--url", "http://192.0.2.1/", folder=tmp_path)
    assert "--rate is for loading a service" in refusal("trace.json", "--rate", "5", folder=tmp_path)
    assert "alone" in refusal("trace.json", "--url", url, folder=tmp_path)
    assert "--steps is not for a service" in refusal("--url", url, "--steps", "5", folder=tmp_path)
    assert "--openai needs the --model" in refusal("--url", url, "--openai", folder=tmp_path)
    assert "--slo is what" in refusal("--url", url, "--slo", "p99=1s", folder=tmp_path)
    assert "requests" in refusal("--url", url, "--rate", "90000", "--duration", "1m", folder=tmp_path)
