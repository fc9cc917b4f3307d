"""Writes a simulated trace of a given size and says what is true of it.

python -m tests.simulator --bytes 500000000 --out big.json.gz --seed 1
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from tests.simulator.endless import write_steps
from tests.simulator.kineto import Style


def main() -> None:
    """Reads the command line, writes the file, prints its truth as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description="Writes a simulated Kineto trace.")
    parser.add_argument("--bytes", type=int, required=True, help="size of the JSON, before compression")
    parser.add_argument("--out", type=Path, required=True, help="a .json or .json.gz file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layout", choices=("compact", "kineto", "pretty"), default="kineto")
    given = parser.parse_args()
    written = write_steps(given.out, given.bytes, given.seed, Style(layout=given.layout))
    sys.stdout.write(json.dumps(dataclasses.asdict(written), indent=2) + "\n")


if __name__ == "__main__":
    main()
