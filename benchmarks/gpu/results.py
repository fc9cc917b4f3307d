"""Brings the parts of a run into one file for a GPU: `benchmarks/results/<gpu>.json`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from benchmarks import report
from benchmarks.kernels.device import device_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


TITLES: Final = {1: "checks", 2: "speed", 3: "models", 4: "gallery", 5: "traces", 6: "overhead"}


def merge(out: Path, results: Path) -> Path:
    """Put the parts of a folder into the file of their GPU; a part that is not in the folder stays as it was there.

    Raises:
        ValueError: There is no part, they are of different devices, or of a dry run, which measured nothing.
    """
    parts = {number: path for number in TITLES if (path := out / f"part-{number}.json").exists()}
    read = {number: json.loads(path.read_text()) for number, path in parts.items()}
    if not read:
        message = f"there are no parts in {out}"
        raise ValueError(message)
    if any(part["dry_run"] for part in read.values()):
        message = f"{out} is of a dry run, which measured nothing"
        raise ValueError(message)
    names = {device_name(part["machine"]) for part in read.values()}
    if len(names) > 1:
        message = f"{out} has parts of {' and '.join(sorted(names))}: a file is of one GPU"
        raise ValueError(message)
    path = results / f"{names.pop()}.json"
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    kept |= {TITLES[number]: part for number, part in read.items()}
    report.write(path, {title: kept[title] for title in TITLES.values() if title in kept})
    return path


def results_of(document: Mapping[str, Any], title: str) -> dict[str, Any]:
    """Return what the steps of a part gave, by name; those without a result are left out."""
    steps = document.get(title, {}).get("steps", {})
    return {name: step["result"] for name, step in steps.items() if "result" in step}


def cells_of(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the cells of all kernels."""
    return [cell for result in results_of(document, "speed").values() for cell in result.get("cells", ())]


def shortfalls(document: Mapping[str, Any]) -> Iterator[str]:
    """Say what was aimed at and not reached, and what was not done and why."""
    for title in TITLES.values():
        for name, step in document.get(title, {}).get("steps", {}).items():
            if step["state"] != "done":
                yield f"{title}, {name}: {step['state']}: {str(step['why']).strip().splitlines()[-1][:160]}"
            elif step["result"].get("failed"):
                yield f"{title}, {name}: {step['result']['failed']} failed"
    for cell in cells_of(document):
        yield from _slow(cell)
    for name, found in results_of(document, "models").items():
        if found["over_compile"]["high"] < 1:
            yield f"models, {name}: {found['over_compile']['median']:.2f} times torch.compile's speed"
    for name, found in results_of(document, "gallery").items():
        if not found["inside"]:
            yield f"gallery, {name}: the measured gain is outside of the predicted interval"


BANDWIDTH_BYTES: Final = 256_000_000
WANTED: Final = {"forward": 0.90, "backward": 0.75}


def _slow(cell: Mapping[str, Any]) -> Iterator[str]:
    for way, wanted in WANTED.items():
        mine = cell[way]["contestants"].get("perfkit")
        if mine is None or cell[way]["bytes"] < BANDWIDTH_BYTES:
            continue
        share = mine["gb_s"] / cell["copy_gb_s"]["median"]
        if share < wanted:
            shape = "x".join(map(str, cell["shape"]))
            yield f"speed, {cell['kernel']} {cell['dtype']} {shape} {way}: {100 * share:.0f} % of copy bandwidth"
