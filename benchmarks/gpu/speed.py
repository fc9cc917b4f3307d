"""Part 2: copy bandwidth, the rate of matrix products, and every kernel against its rivals."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from benchmarks.gpu.steps import ROOT, SkipError, Step

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.gpu.steps import Place

COPIES: Final = tuple(1 << power for power in range(20, 32))
MATMULS: Final = (("bfloat16", 8_192), ("float16", 8_192), ("tf32", 8_192), ("float32", 8_192), ("bfloat16", 1_024))
ROUNDS: Final = 31
WARM_S: Final = 180
KERNEL_S: Final = 40


def steps(place: Place) -> Iterator[Step]:
    """Yield the two limits of the chip, then the kernels."""
    from perfkit_kernels import KERNELS

    yield Step("copy bandwidth", 1, partial(copies, place))
    yield Step("matrix products", 1, partial(products, place))
    names = [spec.name for spec in KERNELS][: 2 if place.dry_run else None]
    yield Step("compiled beforehand", 1, partial(warm, place, names))
    for index, name in enumerate(names):
        yield Step(f"kernel {name}", 1, partial(kernel, place, name, len(names) - index))


def copies(place: Place) -> dict[str, Any]:
    """Copy tensors of many sizes: the roof that memory puts over each of them."""
    device = device_of(place)
    from benchmarks.kernels.timing import copy_bandwidth

    sizes, rounds = (COPIES[:3], 3) if place.dry_run else (COPIES, ROUNDS)
    return {"gb_s": [{"bytes": size, **copy_bandwidth(device, size, rounds)} for size in sizes]}


def products(place: Place) -> dict[str, Any]:
    """Multiply random square matrices: teraflops a second."""
    import torch

    from benchmarks.kernels.timing import in_turns, spread

    device, rounds = device_of(place), 3 if place.dry_run else ROUNDS
    found = []
    for dtype, asked in MATMULS:
        size = 256 if place.dry_run else asked
        torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
        kind = torch.float32 if dtype == "tf32" else getattr(torch, dtype)
        a, b = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
        call = partial(torch.matmul, a, b)
        call()
        samples = in_turns({"matmul": call}, device.type, rounds)["matmul"]
        found.append({"dtype": dtype, "size": size, **spread([2 * size**3 / ns / 1e3 for ns in samples])})
    torch.backends.cuda.matmul.allow_tf32 = False
    return {"tflop_s": found}


def device_of(place: Place) -> Any:
    """Return the device; a dry run's is the CPU."""
    import torch

    if place.dry_run:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        message = "torch sees no GPU"
        raise SkipError(message)
    return torch.device("cuda")


def warm(place: Place, names: list[str]) -> dict[str, Any]:
    """Compile for all kernels at a time, a process each; what is compiled is kept on this machine's disk."""
    if place.dry_run:
        message = "nothing is compiled in a dry run"
        raise SkipError(message)
    began = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.kernels", "--warm", "--dtypes", "bfloat16", "--seconds", str(WARM_S)]
    env = place.environment() | {"TORCHINDUCTOR_COMPILE_THREADS": "1"}
    quiet = subprocess.DEVNULL
    running = [subprocess.Popen([*command, name], cwd=ROOT, env=env, stdout=quiet, stderr=quiet) for name in names]
    for process in running:
        try:
            process.wait(max(WARM_S + 20 - (time.monotonic() - began), 1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return {"processes": len(running), "failed": sum(process.returncode != 0 for process in running)}


def kernel(place: Place, name: str, to_come: int) -> dict[str, Any]:
    """Measure a kernel in a process of its own, with its share of the time left; return its cells."""
    path: Path = place.out / "cells" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    seconds = 60.0 if place.dry_run else max((place.left_s - 15) / to_come, KERNEL_S / 4)
    options = ["--dry-run"] if place.dry_run else []
    limit = seconds + KERNEL_S
    place.python("-m", "benchmarks.kernels", name, "--output", path, "--seconds", str(seconds), *options, seconds=limit)
    found: dict[str, Any] = json.loads(path.read_text())
    return {"cells": found["cells"], "left": found["left"]}
