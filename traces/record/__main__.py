"""Record sample traces: `python -m traces.record NAME... [--out DIR]`, from the repository root."""

import argparse
import sys
from pathlib import Path

from traces.record.healthy import HEALTHY
from traces.record.launch_bound import LAUNCH_BOUND
from traces.record.loader_bound import LOADER_BOUND, LOADER_REPAIRED
from traces.record.recorder import record
from traces.record.sync_bound import SYNC_BOUND

TRACES = Path(__file__).resolve().parents[1]
PROGRAMS = (HEALTHY, LAUNCH_BOUND, LOADER_BOUND, LOADER_REPAIRED, SYNC_BOUND)


def main() -> None:
    """Record the named programs one after the other, on the GPU where torch sees one, else on the CPU."""
    parser = argparse.ArgumentParser(prog="python -m traces.record", description=main.__doc__)
    names = [program.name for program in PROGRAMS]
    parser.add_argument("names", nargs="+", choices=[*names, "all"], metavar="NAME", help=f"{', '.join(names)} or all")
    parser.add_argument("--out", type=Path, default=TRACES, help="folder for the traces and their MANIFEST.toml")
    chosen = parser.parse_args()
    for program in PROGRAMS:
        if program.name in chosen.names or "all" in chosen.names:
            path = record(program, chosen.out)
            sys.stdout.write(f"{path.name}: {path.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
