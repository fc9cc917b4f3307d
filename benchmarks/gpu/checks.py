"""Part 1: the tests that need a GPU, and compute-sanitizer over every kernel."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree

from benchmarks.gpu.steps import FailedError, SkipError, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.gpu.steps import Place

TESTS: Final = {
    "against float64, random, strided and hostile": ("tests/kernels/test_numerics.py", 180),
    "as operators": ("tests/kernels/test_operators.py", 90),
    "dropout": ("tests/kernels/test_dropout.py", 40),
    "offsets beyond 2^31": ("tests/kernels/test_large.py", 60),
}
MOST_NAMED: Final = 30
SANITIZER_S: Final = 120


def steps(place: Place) -> Iterator[Step]:
    """Yield a step for each file of tests, and one for each tool of compute-sanitizer."""
    for name, (path, seconds) in TESTS.items():
        yield Step(f"tests: {name}", 1 if place.dry_run else seconds / 3, partial(tests, place, path, seconds))
    for tool in ("memcheck", "racecheck"):
        yield Step(f"compute-sanitizer {tool}", 1 if place.dry_run else 40, partial(sanitize, place, tool))


def tests(place: Place, path: str, seconds: float) -> dict[str, Any]:
    """Run a file of tests; return how many passed, and which did not."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "tests.xml"
        # A deprecation in that machine's versions is no fault of a kernel.
        options = ["-q", "-p", "no:cacheprovider", "-W", "default", f"--junitxml={written}"]
        if place.dry_run:
            options += ["-k", "(rms_norm and float32 and llama) or beyond or drop", "--maxfail=1"]
        elif importlib.util.find_spec("xdist"):
            options += ["-n", "1" if "large" in path else "8"]
        failure = ""
        try:
            place.python("-m", "pytest", path, *options, seconds=2 * seconds)
        except FailedError as error:
            failure = str(error)
        if not written.exists():
            raise FailedError(failure or "no test was run")
        found = counted(written)
    if not found["passed"] and not found["failed"]:
        raise SkipError("all tests were skipped") if found["skipped"] else FailedError(failure)
    return found


def counted(written: Path) -> dict[str, Any]:
    """Read what JUnit's XML says: how many tests there were, and the names of those that failed."""
    cases = list(ElementTree.parse(written).getroot().iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    passed = len(cases) - len(failed) - len(skipped)
    names = [str(case.get("name")) for case in failed[:MOST_NAMED]]
    return {"passed": passed, "failed": len(failed), "skipped": len(skipped), "failures": names}


def sanitize(place: Place, tool: str) -> dict[str, Any]:
    """Run every kernel once under a tool of compute-sanitizer."""
    command = ["-m", "benchmarks.gpu.once"]
    if place.dry_run:
        place.python(*command, "rms_norm", seconds=60)
        message = "walked through without compute-sanitizer"
        raise SkipError(message)
    sanitizer = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if sanitizer is None:
        message = "compute-sanitizer is not installed"
        raise SkipError(message)
    # So that each tensor is an allocation of its own, whose ends are watched.
    env = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    options = ["--tool", tool, "--error-exitcode", "9", "--kernel-name-exclude", "regex:^(void )?at::"]
    done = place.command(sanitizer, *options, sys.executable, *command, seconds=SANITIZER_S, env=env)
    return {"tool": tool, "errors": 0, "kernels": [line for line in done.splitlines() if line.isidentifier()]}
