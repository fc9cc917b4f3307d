"""`python -m benchmarks.figures`: draws what results there are into `docs/figures`, and has the README show them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.gpu.results import cells_of, results_of
from benchmarks.kernels.device import device_name
from benchmarks.kernels.table import DIRECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROOT: Final = Path(__file__).resolve().parents[1]
COLOURS: Final = {
    "eager": "#8c8c8c",
    "torch.compile": "#4c78a8",
    "perfkit": "#d1495b",
    "Liger-Kernel": "#edae49",
    "native": "#66a182",
}
COLUMNS: Final = 3
STYLE: Final[Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "svg.hashsalt": "perfkit",
}
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def main() -> None:
    """Draw all, and put what was drawn into the README."""
    shown = []
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        shown += draw(json.loads(path.read_text()), ROOT / "docs" / "figures")
    for title, path in shown:
        print(f"{path.relative_to(ROOT)}: {title}")
    if not shown:
        print("there are no results to draw")
    readme = ROOT / "README.md"
    readme.write_text(with_figures(readme.read_text(encoding="utf-8"), shown), encoding="utf-8")


def draw(document: Mapping[str, Any], folder: Path) -> list[tuple[str, Path]]:
    """Draw the figures of one file of results; return title and path of each."""
    drawn: list[tuple[str, Path]] = []
    cells, copies = cells_of(document), results_of(document, "speed").get("copy bandwidth", {}).get("gb_s", ())
    if cells:
        machine = document["speed"]["machine"]
        place = folder / device_name(machine)
        drawn.append((f"Speed by shape on {owner(machine)}", speed_by_shape(machine, cells, stem(place, "speed"))))
        if copies:
            path = roof(machine, cells, copies, stem(place, "roof"))
            drawn.append((f"Our kernels below the roof of memory, {owner(machine)}", path))
    programs = document.get("programs") or list(results_of(document, "gallery").values())
    if programs and "machine" in document.get("gallery", document):
        machine = document.get("gallery", document)["machine"]
        path = predicted(machine, programs, stem(folder / device_name(machine), "predicted"))
        drawn.append((f"Predicted against measured gain on {owner(machine)}", path))
    return drawn


def stem(place: Path, what: str) -> Path:
    """Return the path of a figure."""
    return place.with_name(f"{place.name}_{what}.svg")


def owner(machine: Mapping[str, Any]) -> str:
    """Return what a figure is of."""
    return str(machine.get("gpu", machine.get("cpu")))


def with_figures(readme: str, shown: Sequence[tuple[str, Path]]) -> str:
    """Return the README with these figures between its marks."""
    lines = [f"![{title}]({path.relative_to(ROOT)})" for title, path in shown]
    between = "\n".join([BEGIN, *lines, END])
    return re.sub(f"{BEGIN}.*{END}", lambda _: between, readme, flags=re.DOTALL)


def speed_by_shape(machine: Mapping[str, Any], cells: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw a panel for each kernel and dtype: share of the copy bandwidth against bytes moved, of each contestant."""
    panels = sorted({(cell["kernel"], cell["dtype"]) for cell in cells})
    rows = -(-len(panels) // COLUMNS)

    def fill(figure: Figure) -> None:
        grid = figure.subplots(rows, COLUMNS, squeeze=False, sharex=True, sharey=True)
        for axes, panel in zip(grid.flat, panels, strict=False):
            _panel(axes, [cell for cell in cells if (cell["kernel"], cell["dtype"]) == panel], " ".join(panel))
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_axis_off()
        figure.suptitle(f"Speed by bytes moved, {owner(machine)}: forward solid, backward dashed")
        figure.supylabel("% of copy bandwidth")
        known: dict[str, Any] = {}
        for axes in grid.flat:
            lines, labels = axes.get_legend_handles_labels()
            known |= dict(zip(labels, lines, strict=True))
        figure.legend(known.values(), known.keys(), loc="outside lower center", ncols=5, frameon=False)

    return _save(path, (10.0, 1.0 + 2.2 * rows), fill)


def _panel(axes: Axes, cells: Sequence[Mapping[str, Any]], title: str) -> None:
    for way in DIRECTIONS:
        for name, points in _lines(cells, way).items():
            colour = COLOURS.get(name, COLOURS["native"])
            style = "-" if way == "forward" else "--"
            label = name if way == "forward" else None
            axes.plot(*zip(*sorted(points), strict=True), style, color=colour, marker=".", label=label)
    axes.axhline(100, color="black", linewidth=0.5)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_title(title)


def _lines(cells: Sequence[Mapping[str, Any]], way: str) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for cell in cells:
        for name, entry in cell[way]["contestants"].items():
            share = 100 * entry["gb_s"] / cell["copy_gb_s"]["median"]
            found.setdefault(name, []).append((cell[way]["bytes"], share))
    return found


def roof(
    machine: Mapping[str, Any], cells: Sequence[Mapping[str, Any]], copies: Sequence[Mapping[str, Any]], path: Path
) -> Path:
    """Draw how fast our kernels move bytes, below what a copy of as many bytes reaches."""

    def fill(figure: Figure) -> None:
        axes = figure.subplots()
        sizes = [2 * copy["bytes"] for copy in copies]
        axes.plot(sizes, [copy["median"] for copy in copies], color="black", label="copy")
        axes.fill_between(sizes, [copy["low"] for copy in copies], [copy["high"] for copy in copies], alpha=0.2)
        for way, marker in zip(DIRECTIONS, ("o", "x"), strict=True):
            points = [
                (cell[way]["bytes"], cell[way]["contestants"]["perfkit"]["gb_s"])
                for cell in cells
                if "perfkit" in cell[way]["contestants"]
            ]
            if points:
                axes.scatter(*zip(*points, strict=True), marker=marker, color=COLOURS["perfkit"], label=way)
        axes.set(xscale="log", yscale="log", xlabel="bytes moved", ylabel="GB/s")
        axes.set_title(f"The roof of memory and our kernels, {owner(machine)}")
        axes.legend(frameon=False)

    return _save(path, (7.0, 4.5), fill)


def predicted(machine: Mapping[str, Any], programs: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw a line a program: the predicted gain with its interval, and the measured one with that of its rounds."""
    points = sorted(_promises(programs), key=lambda point: point[2][0])

    def fill(figure: Figure) -> None:
        axes = figure.subplots()
        for place, (_, promise, gain, inside) in enumerate(points):
            colour = COLOURS["native" if inside else "perfkit"]
            axes.barh(place, promise[2] - promise[1], left=promise[1], height=0.6, color=colour, alpha=0.35)
            axes.plot([promise[0]] * 2, [place - 0.3, place + 0.3], color=colour)
            (x, low, high) = gain
            ends = [[max(x - low, 0)], [max(high - x, 0)]]
            axes.errorbar([x], [place], xerr=ends, marker="o", markersize=4, color="black", linewidth=1)
        axes.set_yticks(range(len(points)), [name.replace("_", " ") for name, *_ in points])
        axes.set(xlabel="saved by the repair, % of a step: predicted with its interval, and measured (black)")
        axes.set_xlim(left=min(0, *(gain[1] for *_, gain, _ in points)))
        right = sum(inside for *_, inside in points)
        axes.set_title(f"{right} of {len(programs)} measured gains inside the predicted interval\n{owner(machine)}")

    return _save(path, (7.0, 1.2 + 0.28 * len(points)), fill)


Ends = tuple[float, float, float]


def _promises(programs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Ends, Ends, bool]]:
    """Yield name, promise and gain (in percent, with both ends), and whether the gain lies inside."""
    for program in programs:
        promise = next((found for found in program["findings"] if found["rule"] in program["expected"]), None)
        if promise is not None:
            ends = 100 * promise["saving"], 100 * promise["low"], 100 * promise["high"]
            measured = program["gain"]
            gain = 100 * measured["share"], 100 * measured["low"], 100 * measured["high"]
            yield program["program"], ends, gain, program["inside"]


def _save(path: Path, size: tuple[float, float], fill: Callable[[Figure], None]) -> Path:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        fill(figure)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else {})
    return path


if __name__ == "__main__":
    main()
