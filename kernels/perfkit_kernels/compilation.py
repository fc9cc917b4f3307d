"""Compiles kernels for GPUs that are not here, and reads off what makes a kernel slow: spills and narrow loads."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit_kernels.spec import Compilation

__all__ = ["CHIPS", "Chip", "Compiled", "compile_for"]


class Chip(NamedTuple):
    """A GPU to compile for.

    Attributes:
        name: Its architecture.
        backend: What Triton calls its maker's platform.
        arch: What Triton calls its architecture.
        warp: Threads of a warp.
        shared_bytes: Shared memory that a program may take.
    """

    name: str
    backend: str
    arch: int | str
    warp: int
    shared_bytes: int


CHIPS: Final = (
    Chip("sm_80", "cuda", 80, 32, 163 << 10),
    Chip("sm_90", "cuda", 90, 32, 227 << 10),
    Chip("sm_100", "cuda", 100, 32, 227 << 10),
    Chip("gfx942", "hip", "gfx942", 64, 64 << 10),
)
"""Shared memory: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"; LDS of CDNA 3."""


class Compiled(NamedTuple):
    """What the compiler made of one specialisation.

    Attributes:
        registers: Of a thread.
        spills: Bytes or registers of a thread that did not fit.
        shared_bytes: Shared memory of a program.
        widest_load: Bytes of the widest load or store of global memory.
        faults: What is wrong with it; empty where nothing is.
    """

    registers: int
    spills: int
    shared_bytes: int
    widest_load: int
    faults: tuple[str, ...]


VECTOR_BYTES: Final = 16


def compile_for(compilation: Compilation, chip: Chip) -> Compiled:
    """Compile one specialisation, with pointers and strides divisible by 16 as aligned tensors have them.

    Raises:
        RuntimeError: Triton is in its interpreter, or is not installed.
    """
    from perfkit_kernels.dialect import AVAILABLE, INTERPRETING

    if not AVAILABLE or INTERPRETING:
        message = "compiling takes Triton, and not its interpreter: unset TRITON_INTERPRET"
        raise RuntimeError(message)
    import triton
    from triton.backends.compiler import GPUTarget

    names = compilation.kernel.arg_names
    types = compilation.types
    signature = {name: types.get(name, "constexpr") for name in names}
    aligned = {
        (index,): [["tt.divisibility", 16]]
        for index, name in enumerate(names)
        if types.get(name, "").startswith("*") or name in ALIGNED or name.endswith("_stride")
    }
    source = triton.compiler.ASTSource(
        fn=compilation.kernel, signature=signature, constexprs=dict(compilation.constants), attrs=aligned
    )
    target = GPUTarget(chip.backend, chip.arch, chip.warp)
    # A wavefront of AMD has twice the threads of a warp.
    warps = max(1, compilation.warps * 32 // chip.warp)
    result = triton.compile(source, target=target, options={"num_warps": warps})
    registers, spills, widest = (_of_nvidia if chip.backend == "cuda" else _of_amd)(result.asm, chip)
    shared = int(result.metadata.shared)
    return Compiled(registers, spills, shared, widest, tuple(_faults(compilation, chip, spills, shared, widest)))


ALIGNED: Final = frozenset({"width"})
"""Numbers, beside strides, that Triton specialises on being divisible by 16."""


def _faults(compilation: Compilation, chip: Chip, spills: int, shared: int, widest: int) -> list[str]:
    """Say what is wrong."""
    found = []
    if spills:
        found.append(f"spills {spills}")
    if shared > chip.shared_bytes:
        found.append(f"takes {shared:,} bytes of shared memory, of {chip.shared_bytes:,}")
    if compilation.vectorised and widest < VECTOR_BYTES:
        found.append(f"loads at most {widest} bytes at once")
    return found


def _of_nvidia(asm: Mapping[str, Any], chip: Chip) -> tuple[int, int, int]:
    """Return registers, bytes spilled, and the widest access, from PTX and its assembler."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.ptx"
        path.write_text(asm["ptx"])
        arch = f"sm_{chip.arch}a" if chip.arch in {90, 100} else f"sm_{chip.arch}"
        done = subprocess.run(
            [_ptxas(chip), "-v", f"-arch={arch}", str(path), "-o", os.devnull],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    registers = int(found[1]) if (found := re.search(r"Used (\d+) registers", done.stderr)) else 0
    spills = sum(int(size) for size in re.findall(r"(\d+) bytes spill (?:stores|loads)", done.stderr))
    accesses = re.findall(r"(?:ld|st)\.global(?:\.[\w:]+)*?(?:\.v(\d))?\.[bfsu](\d+)", asm["ptx"])
    return registers, spills, max((int(count or 1) * int(bits) // 8 for count, bits in accesses), default=0)


def _ptxas(chip: Chip) -> str:
    """Return the assembler that Triton brings."""
    import triton

    folder = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    newer = folder / "ptxas-blackwell"
    return str(newer if chip.arch == 100 and newer.exists() else folder / "ptxas")  # noqa: PLR2004


def _of_amd(asm: Mapping[str, Any], _: Chip) -> tuple[int, int, int]:
    """Return registers, registers spilled, and the widest access, from AMD's assembly text."""
    text = asm["amdgcn"]
    registers = _number(text, r"\.vgpr_count:\s+(\d+)")
    spills = _number(text, r"\.vgpr_spill_count:\s+(\d+)") + _number(text, r"\.sgpr_spill_count:\s+(\d+)")
    widths = re.findall(r"(?:global|buffer)_(?:load|store)_(?:b|dword|short|ubyte)(?:x)?(\d*)", text)
    return registers, spills, max((4 * int(width or 1) for width in widths), default=0)


def _number(text: str, pattern: str) -> int:
    """Return the number that a pattern finds, or 0."""
    return int(found[1]) if (found := re.search(pattern, text)) else 0
