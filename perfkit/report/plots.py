"""Draws the main pictures of a Diagnosis as PNG and SVG files, for slides and documents."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from perfkit.errors import MissingExtraError, UsageError
from perfkit.model.picture import KINDS
from perfkit.model.quantity import duration, percent
from perfkit.report import outline
from perfkit.report.labels import cause_label
from perfkit.report.palette import colour
from perfkit.report.pen import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    from perfkit.model.attribution import Step, Timeline
    from perfkit.model.diagnosis import Diagnosis
    from perfkit.model.picture import Picture

    Draw = Callable[[Axes], None]

__all__ = ["draw"]

WIDTH: Final = 9.0
ROWS: Final = 12
LONGEST: Final = 60
STYLE: Final[Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "svg.fonttype": "path",  # a name is drawn, not written, so that no reader of the file can take it for markup
    "svg.hashsalt": "perfkit",
    "text.parse_math": False,  # a dollar sign in a name begins no formula
}


def draw(diagnosis: Diagnosis, folder: str) -> list[str]:
    """Write ``where``, ``steps``, ``kernels``, ``operators`` and ``timeline``, as far as there is something to draw.

    Args:
        diagnosis: What to draw; the timeline is drawn if it has a picture.
        folder: Where to; it is made if it does not exist.

    Returns:
        The paths of the files.

    Raises:
        MissingExtraError: matplotlib is not installed.
        UsageError: The folder cannot be written to.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("--plots", "plots") from error

    written = []
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # what the font lacks is drawn as a box
        for name, (height, fill) in pictures(diagnosis).items():
            figure = Figure(figsize=(WIDTH, height), layout="constrained")
            fill(figure.subplots())
            for suffix in ("png", "svg"):
                path = Path(folder, f"{name}.{suffix}")
                metadata = {"Date": None} if suffix == "svg" else {}
                try:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    figure.savefig(path, dpi=160, metadata=metadata)
                except OSError as error:
                    message = f"{path} cannot be written: {error.strerror or error}"
                    raise UsageError(message) from error
                written.append(str(path))
    return written


def pictures(diagnosis: Diagnosis) -> dict[str, tuple[float, Draw]]:
    """Return the pictures that can be drawn, by name: height in inches, and what draws it."""
    found: dict[str, tuple[float, Draw]] = {}
    line = outline.main_timeline(diagnosis)
    if line is not None and line.window_ns:
        main = line  # for the functions below, which are called later
        found["where"] = (0.9 + 0.3 * len(outline.portions(main)), lambda axes: where(axes, main))
        if len(main.steps) > 1:
            found["steps"] = (3.6, lambda axes: steps(axes, main))
    rows = [(row.name, row.device_ns) for row in diagnosis.attribution.kernels[:ROWS]]
    if rows:
        found["kernels"] = (1.0 + 0.32 * len(rows), lambda axes: ranked(axes, rows, "Kernels by GPU time", "compute"))
    on_device = line is None or line.kind == "device"
    most = diagnosis.attribution.operators[:ROWS]
    operators = [
        (name, row.device_ns if on_device else row.host_ns)
        for name, row in zip(outline.operator_names(most), most, strict=True)
    ]
    title = f"Operators by {'GPU' if on_device else 'host'} time"
    if operators:
        found["operators"] = (1.0 + 0.32 * len(operators), lambda axes: ranked(axes, operators, title, "operator"))
    picture = diagnosis.picture
    if picture is not None and any(track.role != "thread" for track in picture.tracks):
        number = sum(track.role != "thread" for track in picture.tracks)
        found["timeline"] = (1.4 + 0.5 * number, lambda axes: timeline(axes, picture))
    return found


def where(axes: Axes, line: Timeline) -> None:
    """Draw the owners of a timeline's window."""
    owners = sorted(((ns, name) for name, ns in (*line.busy.items(), *line.idle.items()) if ns))
    axes.barh(
        [short(cause_label(name)) for _, name in owners],
        [100 * ns / line.window_ns for ns, _ in owners],
        color=[colour(name) for _, name in owners],
    )
    for place, (ns, _) in enumerate(owners):
        axes.text(100 * ns / line.window_ns + 0.5, place, percent(ns, line.window_ns), va="center")
    axes.set(title="Where the time goes", xlabel="% of the window")
    axes.margins(x=0.1)


def steps(axes: Axes, line: Timeline) -> None:
    """Draw the owners of each step's time, one on the other."""

    def owned(step: Step, name: str) -> int:
        return step.busy.get(name, 0) or step.idle.get(name, 0)

    totals = {**line.busy, **line.idle}
    names = sorted((name for name, ns in totals.items() if ns), key=lambda name: -totals[name])
    place, base = np.arange(len(line.steps)), np.zeros(len(line.steps))
    for name in names:
        height = np.array([owned(step, name) for step in line.steps]) / 1e6
        axes.bar(place, height, bottom=base, color=colour(name), label=short(cause_label(name)), width=0.85)
        base += height
    axes.set(title="Step by step", xlabel="step", ylabel="ms")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)


def ranked(axes: Axes, rows: list[tuple[str, int]], title: str, kind: str) -> None:
    """Draw the largest rows of a table."""
    ordered = rows[::-1]
    axes.barh(range(len(ordered)), [ns / 1e6 for _, ns in ordered], color=colour(kind))
    axes.set_yticks(range(len(ordered)), [short(name) for name, _ in ordered], fontsize=8)
    for place, (_, ns) in enumerate(ordered):
        axes.text(ns / 1e6, place, f" {duration(ns)}", va="center", fontsize=8)
    axes.set(title=title, xlabel="ms")
    axes.margins(x=0.12)


def timeline(axes: Axes, picture: Picture) -> None:
    """Draw who owns the time of each timeline, and its streams."""
    tracks = [track for track in picture.tracks if track.role != "thread"]
    seen = {}
    for place, track in enumerate(tracks):
        for kind in np.unique(track.kind).tolist():
            some = track.kind == kind
            spans = np.column_stack((track.start[some] - picture.start_ns, (track.end - track.start)[some])) / 1e6
            drawn = axes.broken_barh(spans.tolist(), (place - 0.4, 0.8), facecolors=colour(KINDS[kind]))
            if track.role == "owners":
                seen[cause_label(KINDS[kind])] = drawn
    labels = [f"{track.timeline}: {track.label}" if track.role == "owners" else track.label for track in tracks]
    axes.set_yticks(range(len(tracks)), [short(label) for label in labels], fontsize=8)
    axes.invert_yaxis()
    axes.set(title="Timeline", xlabel="ms")
    axes.legend(seen.values(), seen.keys(), loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)


def short(name: str) -> str:
    """Return a name that fits beside a bar."""
    name = plain(name)
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
