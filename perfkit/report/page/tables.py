"""The tables of a Diagnosis on its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.model.quantity import percent, rate, size
from perfkit.report.labels import cause_label
from perfkit.report.page.grids import Cell, Grid, name, texts, time, whole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perfkit.model.diagnosis import Diagnosis

__all__ = ["grids"]


def grids(diagnosis: Diagnosis) -> Iterable[Grid]:
    """Yield all tables, those without rows included."""
    yield from of_fleet(diagnosis)
    yield from of_attribution(diagnosis)
    yield from of_profiles(diagnosis)


def of_attribution(diagnosis: Diagnosis) -> Iterable[Grid]:
    """Yield operators, kernels, copies, collectives, the events that idle time is owed to, and threads held up."""
    found = diagnosis.attribution
    whole_ns = sum(line.window_ns for line in found.timelines) or 1
    on_host = bool(found.timelines) and found.timelines[0].kind == "host_thread"

    def part(ns: int) -> Cell:
        return Cell(percent(ns, whole_ns), ns)

    yield Grid(
        "operators",
        "Operators",
        ("Operator", "Module", "Line", "Calls", "Launches", "Share", "GPU time", "Host time"),
        [
            (
                name(row.name),
                name(row.module),
                name(row.where),
                whole(row.calls),
                whole(row.launches),
                part(row.host_ns if on_host else row.device_ns),
                time(row.device_ns),
                time(row.host_ns),
            )
            for row in found.operators
        ],
    )
    yield Grid(
        "kernels",
        "Kernels",
        ("Kernel", "Kind", "Calls", "Share", "GPU time", "Mean", "Longest"),
        [
            (
                name(row.name),
                Cell(row.kind, row.kind),
                whole(row.calls),
                part(row.device_ns),
                time(row.device_ns),
                time(row.mean_ns),
                time(row.max_ns),
            )
            for row in found.kernels
        ],
    )
    yield Grid(
        "copies",
        "Copies",
        ("Copy", "Runs", "Time", "Bytes", "Rate"),
        [
            (
                name(row.kind),
                whole(row.calls),
                time(row.device_ns),
                Cell(size(row.bytes) if row.bytes else "", row.bytes),
                Cell(rate(row.bytes_per_s) if row.bytes_per_s else "", row.bytes_per_s),
            )
            for row in found.copies
        ],
    )
    yield Grid(
        "collectives",
        "Communication",
        ("Collective", "Calls", "Time", "Bytes"),
        [
            (
                name(row.name),
                whole(row.calls),
                time(row.device_ns),
                Cell(size(row.bytes) if row.bytes else "", row.bytes),
            )
            for row in found.collectives
        ],
    )
    yield Grid(
        "blame",
        "Idle time by host event",
        ("Host event", "Cause", "Line", "Thread", "Gaps", "Idle time"),
        [
            (
                name(row.event),
                Cell(cause_label(row.cause), row.cause),
                name(row.where),
                name(row.thread),
                whole(row.gaps),
                time(row.ns),
            )
            for row in sorted(found.blame, key=lambda row: -row.ns)
        ],
    )
    yield Grid(
        "blocked",
        "Host threads held up",
        ("Thread", "By", "Calls", "Share", "Time"),
        [
            (
                name(row.thread),
                Cell(cause_label(row.cause), row.cause),
                whole(row.calls),
                Cell(percent(row.ns, row.window_ns), row.ns),
                time(row.ns),
            )
            for row in found.blocked
            if row.ns
        ],
    )


def of_fleet(diagnosis: Diagnosis) -> Iterable[Grid]:
    """Yield the tables of the ranks."""
    if diagnosis.fleet is None:
        return
    from perfkit.report import fleet

    found = diagnosis.fleet
    yield texts("ranks", fleet.title(found), fleet.head(found), fleet.rank_rows(found))
    yield texts("rank-collectives", "Collectives", fleet.COLLECTIVE_HEAD, fleet.collective_rows(found))


def of_profiles(diagnosis: Diagnosis) -> Iterable[Grid]:
    """Yield the table of profiled kernels."""
    if not diagnosis.profiles:
        return
    from perfkit.report import profiles

    shown = diagnosis.profiles[:12]
    yield texts("profiles", "Profiled kernels", profiles.head(shown), profiles.rows(shown))
