"""The flame graphs of a Picture for speedscope: a sampled profile each, to its schema.

The schema: https://www.speedscope.app/file-format-schema.json.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import perfkit

if TYPE_CHECKING:
    from perfkit.model.picture import Flame, Picture

__all__ = ["SCHEMA", "draw", "stacks"]

SCHEMA = "https://www.speedscope.app/file-format-schema.json"
NAMES = {"module": "by module", "line": "by line of Python", "device": "GPU time", "host": "Host time"}


def draw(picture: Picture, title: str) -> str:
    """Return the document; ``title`` says what it is of."""
    document = {
        "$schema": SCHEMA,
        "name": title,
        "exporter": f"perfkit {perfkit.__version__}",
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": name} for name in picture.names]},
        "profiles": [profile(flame) for flame in picture.flames],
    }
    return json.dumps(document, separators=(",", ":")) + "\n"


def profile(flame: Flame) -> dict[str, Any]:
    """Return one flame graph as a profile whose samples are its frames with time of their own."""
    found = stacks(flame)
    return {
        "type": "sampled",
        "name": f"{NAMES[flame.measure]} {NAMES[flame.by]}",
        "unit": "nanoseconds",
        "startValue": 0,
        "endValue": sum(ns for _, ns in found),
        "samples": [stack for stack, _ in found],
        "weights": [ns for _, ns in found],
    }


def stacks(flame: Flame) -> list[tuple[list[int], int]]:
    """Return each frame that has time of its own as the names from the outermost to it, and that time."""
    paths: list[list[int]] = []
    for parent, name in zip(flame.parent.tolist(), flame.name.tolist(), strict=True):
        paths.append([*(paths[parent] if parent >= 0 else []), name])
    return [(path, ns) for path, ns in zip(paths, flame.self_ns.tolist(), strict=True) if ns > 0]
