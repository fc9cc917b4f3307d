"""Fuzzes guided by which branches of the Python twin an input takes: python -m tests.fuzz.guided (needs atheris).

The native scanner is held against the twin on every input, so what leads to a new branch of one tries both.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import zlib
from importlib import import_module
from pathlib import Path

MAX_BYTES = 4096


def run(seed: int, folder: Path, seconds: float, deadline_s: float) -> None:
    """Fuzzes until `seconds` are over or an input fails, which is saved in `folder`; then ends the process.

    Raises:
        ModuleNotFoundError: atheris is not installed.
    """
    atheris = import_module("atheris")
    # The first import of the twin, which is why the other fuzzer does not come along here.
    with atheris.instrument_imports(include=["perfkit.ingest"]):
        from tests.fuzz.checks import Checks
    from tests.fuzz.inputs import open_inputs
    from tests.fuzz.mutations import mutate

    checks = Checks()

    def check(document: bytes) -> None:
        faults = checks.fail(document, zlib.crc32(document))
        if faults:
            raise AssertionError("\n".join(faults))

    def change(document: bytes, size: int, number: int) -> bytes:
        rng = random.Random(number)
        changed = mutate(document, rng) if rng.random() < 0.5 else atheris.Mutate(document, size)
        return bytes(changed[:size])

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for number, document in enumerate(open_inputs(seed).corpus):
            Path(corpus, str(number)).write_bytes(document[:MAX_BYTES])
        limits = (f"-max_total_time={seconds:.0f}", f"-timeout={deadline_s:.0f}", f"-max_len={MAX_BYTES}")
        options = (f"-seed={seed}", f"-artifact_prefix={folder}/", *limits)
        atheris.Setup([sys.argv[0], *options, corpus], check, custom_mutator=change)
        atheris.Fuzz()


def main() -> None:
    """Reads the command line and fuzzes."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description="Fuzzes guided by coverage.")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=None, help="by default the time of day")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="folder for the input that fails")
    parser.add_argument("--deadline", type=float, default=30, help="seconds that one input may take")
    given = parser.parse_args()
    run(int(time.time()) if given.seed is None else given.seed, given.out, given.seconds, given.deadline)


if __name__ == "__main__":
    main()
