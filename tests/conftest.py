"""Fixtures for all tests, and the flag that lets golden outputs change."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

if "PYTEST_XDIST_WORKER" in os.environ:
    # One thread for each worker and for what it starts, before anything imports torch.
    os.environ["OMP_NUM_THREADS"] = "1"

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden with what is produced now")


@pytest.fixture(scope="session", autouse=True)
def _temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Generator[None, None, None]:
    """Have programs that are killed in a test leave what they leave where it is cleaned up."""
    tmp_path_factory.getbasetemp()  # stays where it is
    # Not a folder of pytest's: names of sockets are in there, and have to be short.
    with (
        tempfile.TemporaryDirectory(prefix="t", ignore_cleanup_errors=True) as place,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("TMPDIR", place)
        patch.setattr(tempfile, "tempdir", None)
        yield


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the file of that name in tests/golden, or rewrite the file if told to."""

    def compare(name: str, text: str) -> None:
        file = GOLDEN / name
        if request.config.getoption("--update-golden"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode())
        assert file.exists(), f"{file} is missing: look at the output, then run pytest --update-golden"
        assert text == file.read_bytes().decode(), f"{name} changed: if that is right, run pytest --update-golden"

    return compare
