"""Compiles every kernel for every architecture and prints what came of it: `python -m perfkit_kernels [NAME...]`."""

from __future__ import annotations

import sys
import time

from perfkit_kernels import KERNELS
from perfkit_kernels.compilation import CHIPS, compile_for
from perfkit_kernels.generate.samples import compilations as generated
from perfkit_kernels.spec import DTYPES


def main(names: list[str]) -> int:
    """Print a row for each specialisation; return 1 if one has a fault."""
    faulty = total = 0
    began = time.monotonic()
    print(f"{'kernel':24} {'specialisation':30} {'dtype':9}" + "".join(f"{chip.name:>22}" for chip in CHIPS))
    print(f"{'':65}" + f"{'regs  shared  vector':>22}" * len(CHIPS))
    for name, compilations in {**{spec.name: spec.compilations for spec in KERNELS}, "generated": generated}.items():
        if names and name not in names:
            continue
        for dtype in DTYPES:
            for compilation in compilations(dtype):
                cells, notes = [], []
                for chip in CHIPS:
                    done = compile_for(compilation, chip)
                    total, faulty = total + 1, faulty + bool(done.faults)
                    cells.append(f"{done.registers:8} {done.shared_bytes:7} {done.widest_load:5}")
                    notes += [f"{chip.name}: {fault}" for fault in done.faults]
                print(f"{name:24} {compilation.label:30} {dtype:9}" + "".join(cells), *notes, flush=True)
    seconds = time.monotonic() - began
    print(f"{total} compiled in {seconds:.0f} s, {faulty} with a fault")
    return int(faulty > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
