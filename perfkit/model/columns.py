"""The columns of a trace's event table, declared once: the scanners read this table, nothing else names a JSON key.

An event is one row. ``kind`` says how the JSON value becomes a number:

=========  ===========  ===========================================================================
kind       dtype        value
=========  ===========  ===========================================================================
``time``   int64        decimal microseconds, as text or number, to integer nanoseconds, no float
``int``    int64        a JSON integer, or a string holding one
``small``  int32        the same, for values that fit
``text``   int32        index into ``Trace.strings`` (a JSON string, unescaped)
``json``   int32        index into ``Trace.strings`` (any JSON value, as the raw text of the file)
``key``    int32        as ``json``, but a string loses its quotes, so that ``7`` and ``"7"`` agree
=========  ===========  ===========================================================================

A value that is absent or not of its kind is ``MISSING`` of its dtype. ``keys`` are the spellings seen in the wild,
each either a
key of the event itself (``place="event"``) or of its ``args``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = [
    "COLLECTIVE_FIELDS",
    "COLUMNS",
    "DEFAULT_FIELDS",
    "MEMORY_FIELDS",
    "MISSING_INT",
    "MISSING_SMALL",
    "SIZE_FIELDS",
    "Column",
]

Kind = Literal["time", "int", "small", "text", "json", "key"]

MISSING_INT: Final = -(2**63)
"""Marks an absent value in an int64 column."""
MISSING_SMALL: Final = -(2**31)
"""Marks an absent value in an int32 column."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name in a Trace, how it is read, and which JSON keys hold it."""

    name: str
    kind: Kind
    keys: tuple[str, ...]
    place: Literal["event", "args"] = "args"

    @property
    def missing(self) -> int:
        """The value that stands for "absent" in this column."""
        return MISSING_INT if self.kind in ("time", "int") else MISSING_SMALL


COLUMNS: Final = (
    Column("start", "time", ("ts",), "event"),
    Column("duration", "time", ("dur",), "event"),
    Column("name", "text", ("name",), "event"),
    Column("category", "text", ("cat",), "event"),
    Column("process", "key", ("pid",), "event"),
    Column("thread", "key", ("tid",), "event"),
    Column("device", "small", ("device", "Device Id")),
    Column("stream", "small", ("stream",)),
    Column("context", "small", ("context",)),
    Column("correlation", "int", ("correlation",)),
    Column("graph_id", "int", ("graph id",)),
    Column("graph_node", "int", ("graph node id",)),
    Column("external_id", "int", ("External id", "external id")),
    Column("sequence", "int", ("Sequence number",)),
    Column("forward_thread", "int", ("Fwd thread id",)),
    Column("python_id", "small", ("Python id",)),
    Column("python_parent", "small", ("Python parent id",)),
    Column("call_stack", "text", ("Call stack",)),
    Column("module", "text", ("Module Hierarchy",)),
    Column("shapes", "json", ("Input Dims", "Input dims")),
    Column("types", "json", ("Input type",)),
    Column("strides", "json", ("Input Strides",)),
    Column("bytes", "int", ("bytes", "Bytes")),
    Column("copy_kind", "key", ("kind",)),
    Column("grid", "json", ("grid",)),
    Column("block", "json", ("block",)),
    Column("registers", "small", ("registers per thread",)),
    Column("shared_memory", "small", ("shared memory",)),
    Column("occupancy", "key", ("est. achieved occupancy %",)),
    Column("collective", "text", ("Collective name",)),
    Column("group_name", "text", ("Process Group Name",)),
    Column("group_description", "text", ("Process Group Description",)),
    Column("group_ranks", "json", ("Process Group Ranks",)),
    Column("group_size", "small", ("Group size",)),
    Column("group_sequence", "int", ("Seq",)),
    Column("in_elements", "int", ("In msg nelems",)),
    Column("out_elements", "int", ("Out msg nelems",)),
    Column("element_type", "text", ("dtype",)),
    Column("kernel_file", "text", ("kernel_file",)),
    Column("kernel_hash", "text", ("kernel_hash",)),
    Column("kernel_backend", "text", ("kernel_backend",)),
    Column("address", "int", ("Addr",)),
    Column("total_allocated", "int", ("Total Allocated",)),
    Column("total_reserved", "int", ("Total Reserved",)),
)
"""Every column a Trace can have."""

DEFAULT_FIELDS: Final = (
    "device",
    "stream",
    "correlation",
    "external_id",
    "sequence",
    "call_stack",
    "shapes",
    "bytes",
    "grid",
    "collective",
)
"""The columns read beside the six of place ``event`` when the caller names none: those that a diagnosis reads."""

MEMORY_FIELDS: Final = ("total_allocated", "total_reserved")
"""The columns read beside DEFAULT_FIELDS where memory is looked at: with them its events become rows."""

SIZE_FIELDS: Final = ("in_elements",)
"""The columns read beside them to tell, on one rank, collectives that wait from those that move much."""

COLLECTIVE_FIELDS: Final = (
    "group_name",
    "group_description",
    "group_ranks",
    "group_size",
    "group_sequence",
    "in_elements",
    "out_elements",
    "element_type",
)
"""The columns read beside DEFAULT_FIELDS where ranks are compared: which group communicated, and how much."""
