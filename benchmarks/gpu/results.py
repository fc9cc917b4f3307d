"""Brings the parts of a run into one file for a GPU: `benchmarks/results/<gpu>.json`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from benchmarks import report
from benchmarks.kernels.device import device_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
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
    yield from _models(results_of(document, "models"))
    yield from _gallery(results_of(document, "gallery"))


LEAST_SPEEDUP: Final = 1.3
LEAST_INSIDE: Final = 0.8
MOST_BEHIND: Final = 0.02


def gains(document: Mapping[str, Any]) -> Iterator[str]:
    """Say of each model how much faster it came to be, over eager and over compile alone, and what won its sites."""
    for name, found in results_of(document, "models").items():
        eager, compiled = found["over_eager"]["perfkit"], found["over_compile"]
        won = ", ".join(f"{who} {calls}" for who, calls in sorted(found["won"].items())) or "nothing was found"
        yield f"{name}: {_ends(eager)} times as fast as eager, {_ends(compiled)} times torch.compile; sites: {won}"


def _ends(found: Mapping[str, float]) -> str:
    return f"{found['median']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def _models(models: Mapping[str, Any]) -> Iterator[str]:
    for name, found in models.items():
        if found["over_compile"]["high"] < 1:
            yield f"models, {name}: {found['over_compile']['median']:.2f} times torch.compile's speed"
        yield from _outdone(name, found["verdicts"]["sites"])
    if models and not any(map(_won_clearly, models.values())):
        yield f"models: none is {LEAST_SPEEDUP} times as fast as eager and no slower than torch.compile"


def _gallery(programs: Mapping[str, Any]) -> Iterator[str]:
    for name, found in programs.items():
        if not found["inside"]:
            yield f"gallery, {name}: the measured gain is outside of the predicted interval"
    inside = sum(found["inside"] for found in programs.values())
    if inside < LEAST_INSIDE * len(programs):
        yield f"gallery: {inside} of {len(programs)} measured gains are inside of the predicted interval"


def _won_clearly(found: Mapping[str, Any]) -> bool:
    """Whether a model came to be as much faster as is aimed at, and is no slower than when compiled alone."""
    return bool(found["over_eager"]["perfkit"]["median"] >= LEAST_SPEEDUP and found["over_compile"]["high"] >= 1)


def _outdone(model: str, sites: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say where a candidate that is right is faster than the one that was chosen, or than what was left."""
    compiled = [site for site in sites if site["kind"] == "model" and site["chosen"] == "compile"]
    for site in compiled or sites:  # compiled as a whole, it leaves no place to others
        right = {one["name"]: one["alone"]["speedup"] for one in site["candidates"] if one["alone"]}
        mine = right.get(site["chosen"], 1.0)
        best = max(right, key=right.__getitem__, default="")
        if best and mine < (1 - MOST_BEHIND) * right[best]:
            chosen = site["chosen"] or "what was there"
            yield f"models, {model}, {site['title']}: {chosen} is {1 - mine / right[best]:.0%} behind {best}"


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
