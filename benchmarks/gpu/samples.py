"""Part 5: sample traces for `traces/`: planted faults and their twins, four kernels under Nsight Compute, two ranks."""

from __future__ import annotations

import shutil
import sys
import tarfile
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from benchmarks.gpu.steps import ROOT, SkipError, Step

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.gpu.steps import Place

SAMPLES: Final = ("loader_bound", "loader_repaired", "sync_bound", "launch_bound", "healthy")
PAIRS: Final = ("norm_written_out", "attention_written_out", "unfused_optimizer", "small_batches")
PROFILED: Final = ("cross_entropy", "gated_activation", "rms_norm", "softmax")
LARGEST: Final = 1_000_000


def steps(place: Place) -> Iterator[Step]:
    """Yield a step for each trace, and one that packs them."""
    samples, pairs = (("healthy",), PAIRS[:1]) if place.dry_run else (SAMPLES, PAIRS)
    for name in samples:
        yield Step(f"sample {name}", 1 if place.dry_run else 20, partial(sample, place, name))
    for name in pairs:
        yield Step(f"pair {name}", 1 if place.dry_run else 20, partial(pair, place, name))
    yield Step("Nsight Compute", 1 if place.dry_run else 40, partial(profiled, place))
    yield Step("two ranks", 1 if place.dry_run else 30, partial(ranks, place))
    yield Step("packed", 0, partial(pack, place))


def folder(place: Place) -> Path:
    """Return where the traces go: beside a manifest that knows the ones that are there."""
    made = place.out / "traces"
    if not made.exists():
        made.mkdir(parents=True)
        shutil.copy(ROOT / "traces" / "MANIFEST.toml", made)
    return made


def sample(place: Place, name: str) -> dict[str, Any]:
    """Record one of the programs of ``traces/record``."""
    return {"wrote": place.python("-m", "traces.record", name, "--out", folder(place), seconds=120).strip()}


def pair(place: Place, name: str) -> dict[str, Any]:
    """Record a program of the gallery, and its twin."""
    wrote = place.python("-m", "benchmarks.gpu.pairs", name, folder(place), seconds=120)
    return {"wrote": wrote.strip().splitlines()}


def profiled(place: Place) -> dict[str, Any]:
    """Profile four kernels on their largest shapes."""
    command = ["-m", "benchmarks.gpu.once", "--large", *PROFILED]
    if place.dry_run:
        place.python("-m", "benchmarks.gpu.once", "rms_norm", seconds=120)
        message = "walked through without ncu"
        raise SkipError(message)
    ncu = shutil.which("ncu") or shutil.which("ncu", path="/usr/local/cuda/bin")
    if ncu is None:
        message = "ncu is not installed"
        raise SkipError(message)
    path = folder(place) / "kernels.ncu-rep"
    # The card's clocks stay as they are.
    options = ["--set", "full", "--clock-control", "none", "--profile-from-start", "off", "--force-overwrite"]
    place.command(ncu, *options, "--export", path, sys.executable, *command, seconds=240)
    csv = place.command(ncu, "--import", path, "--csv", "--page", "raw", seconds=120)
    path.with_suffix(".csv").write_text(csv, encoding="utf-8")
    return {"kernels": list(PROFILED), "bytes": path.stat().st_size}


def ranks(place: Place) -> dict[str, Any]:
    """Record two processes that train together, on one GPU."""
    return {"wrote": place.python("-m", "benchmarks.gpu.ranks", folder(place), seconds=120).strip().splitlines()}


def pack(place: Place) -> dict[str, Any]:
    """Put all into one file, and name what is too large to be kept."""
    made = folder(place)
    files = sorted(path for path in made.rglob("*") if path.is_file())
    with tarfile.open(place.out / "traces.tar", "w") as archive:
        for path in files:
            archive.add(path, path.relative_to(place.out))
    sizes = {str(path.relative_to(made)): path.stat().st_size for path in files}
    return {"bytes": sizes, "too_large": [name for name, size in sizes.items() if size > LARGEST]}
