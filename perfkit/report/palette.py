"""Colours of busy classes, idle causes and kinds of events; they mean the same on a page and in a picture."""

from __future__ import annotations

from typing import Final

__all__ = ["COLOURS", "OTHER", "colour"]

OTHER: Final = "#9aa5b1"

COLOURS: Final = {
    "compute": "#3f83d1",
    "exposed_communication": "#8f63c9",
    "exposed_copy": "#2ba193",
    "data_loading": "#e8792b",
    "synchronization": "#d9485f",
    "allocation": "#b5652b",
    "compilation": "#c9518f",
    "initialization": "#a85f9c",
    "launch_overhead": "#dfae2a",
    "copy_submission": "#83a84a",
    "operator_dispatch": "#e0923f",
    "host_compute": "#c78f4d",
    "os_wait": "#948a7c",
    "python": "#e3c21c",
    "profiler_overhead": "#93a1b0",
    "no_request": "#b7c3ce",
    "no_work": "#c9d2da",
    "host_code": "#b69c6a",
    "launch_latency": "#8794a8",
    "queued_same_stream": "#a7b3c3",
    "queued_cross_stream": "#7f8fa5",
    "queued_in_graph": "#94a7b8",
    "unattributed_host_silent": "#c3c6ca",
    "unattributed_no_launch": "#b0b4b9",
    "unattributed_edge": "#d0d3d7",
    "waiting_for_ranks": "#5f4b9b",
    "before_recording": "#d0d3d7",
    "kernel": "#3f83d1",
    "communication": "#8f63c9",
    "copy": "#2ba193",
    "memset": "#6cbdb2",
    "operator": "#6fa3dc",
    "annotation": "#86b08d",
    "call": "#c4b872",
    "launch": "#dfae2a",
    "wait": "#d9485f",
    "module": "#8c93d8",
    "line": "#b391cf",
    "overhead": "#93a1b0",
    "system": "#948a7c",
    "sample": "#b69c6a",
}
"""Colours that are told from both a light and a dark ground; no meaning is in the colour alone."""


def colour(name: str) -> str:
    """Return the colour of a busy class, an idle cause or a kind of event; one that is not known yet is grey."""
    return COLOURS.get(name, OTHER)
