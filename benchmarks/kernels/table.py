"""The results of kernels, as Markdown."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from benchmarks.kernels.contestants import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DIRECTIONS = ("forward", "backward")


def markdown(machine: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Write a table for each kernel: GB/s of each contestant, and its share of the copy bandwidth of the same run."""
    versions = ", ".join(f"{name} {version}" for name, version in machine.get("versions", {}).items())
    yield f"# Kernels on {machine.get('gpu', machine.get('cpu'))}"
    yield ""
    yield f"{versions}; {machine.get('date', '')}."
    yield "GB/s of the bytes that have to be moved, in parentheses their share of what a copy moved in the same run."
    yield "The fastest is bold. Last column: perfkit against the best of the others, the 95 % interval of that median,"
    yield "and the number of rounds."
    ordered = sorted(cells, key=lambda cell: (cell["kernel"], cell["dtype"], cell["shape"]))
    for kernel, group in groupby(ordered, key=lambda cell: cell["kernel"]):
        mine = list(group)
        names = list(dict.fromkeys(name for cell in mine for way in DIRECTIONS for name in cell[way]["contestants"]))
        yield from ("", f"## {kernel}", "", f"| dtype | shape | | MB | {' | '.join(names)} | perfkit / best |")
        yield f"|---|---|---|--:|{'--:|' * len(names)}--:|"
        for cell in mine:
            for way in DIRECTIONS:
                if cell[way]["contestants"]:
                    yield _row(cell, way, names)
        left_out = {f"{name}: {why}" for cell in mine for name, why in cell["skipped"].items()}
        if left_out:
            yield from ("", f"Left out: {'; '.join(sorted(left_out))}.")
    yield from summary(cells)


def _row(cell: Mapping[str, Any], way: str, names: Sequence[str]) -> str:
    found = cell[way]["contestants"]
    fastest = min(found, key=lambda name: found[name]["ns"]["median"])
    columns = []
    for name in names:
        if name not in found:
            columns.append("")
            continue
        speed = found[name]["gb_s"]
        text = f"{shown(speed)} ({100 * speed / cell['copy_gb_s']['median']:.0f} %)"
        columns.append(f"**{text}**" if name == fastest else text)
    last = ""
    if OURS in found:
        over = found[OURS]["over_best_rival"]
        last = f"{over['median']:.2f} [{over['low']:.2f}, {over['high']:.2f}] {over['n']:.0f}"
    shape = "x".join(map(str, cell["shape"]))
    size = cell[way]["bytes"] / 1e6
    return f"| {cell['dtype']} | {shape} | {way} | {size:,.1f} | {' | '.join(columns)} | {last} |"


def shown(number: float) -> str:
    """Write a number with three digits, and thousands marked."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def summary(cells: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say of each contestant in how many cells it was the fastest."""
    won: dict[str, int] = {}
    for cell in cells:
        for way in DIRECTIONS:
            found = cell[way]["contestants"]
            if found:
                fastest = min(found, key=lambda name: found[name]["ns"]["median"])
                won[fastest] = won.get(fastest, 0) + 1
    if won:
        counted = ", ".join(f"{name} {times}" for name, times in sorted(won.items(), key=lambda item: -item[1]))
        yield from ("", f"Fastest, of {sum(won.values())} comparisons: {counted}.")
