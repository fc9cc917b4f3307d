"""What can be wrong with a trace, and the words for it: each message says what was done about it."""

from __future__ import annotations

from typing import Final

from perfkit.model.trace import Defect

__all__ = ["MESSAGES", "DefectList"]

MESSAGES: Final = {
    # The file as a whole.
    "truncated_compression": "the compressed file breaks off: everything before that point was read",
    "corrupt_compression": "the compressed data is damaged: everything before that point was read",
    "trailing_garbage": "bytes after the compressed data that are not part of it: not read",
    "truncated": "the file breaks off before its end: everything before that point was read",
    "trailing_data": "data after the end of the JSON: not read",
    "no_events": "the trace holds no events with a duration: was the profiler's active window ever reached?",
    "broken_header": "the part of the file outside the events is not JSON: reading goes on at the next value",
    "broken_rest": "what follows is not JSON: everything before that point was read",
    "unreadable_header": "values of the header that are not JSON: left out",
    # Databases.
    "damaged_table": "tables with damaged pages: their rows up to there were read",
    "wrong_type": "values that are not of the type of their column: read as absent",
    "long_text": "texts over 1 MiB: cut there",
    "profiler_diagnostic": "the profiler itself warns",
    "no_gpu_activity": "no activity of a GPU was recorded",
    "graph_level_capture": "launches of CUDA graphs recorded as a whole: the kernels inside are not known; record with "
    "`--cuda-graph-trace=node`",
    "averages_only": "runs of which only the average is known: it is shown as one run without gaps, so that idle time "
    "is not known",
    "rounded_times": "queries after the first second: their times have six digits, so the last one is 10 us or more",
    # Syntax.
    "truncated_event": "the last event breaks off: left out",
    "broken_event": "events that are not JSON: left out, reading goes on at the next one",
    "event_not_object": "elements of traceEvents that are not objects: left out",
    "missing_comma": "commas missing between events: read as if they were there",
    "extra_comma": "commas without an event between them: skipped",
    "bare_value": "values that are not JSON, such as NaN: read as absent",
    "bad_escape": "escapes that JSON does not have, as in a Windows path: kept as they are",
    "control_character": "control characters inside strings: kept as they are",
    "invalid_utf8": "texts that are not UTF-8: shown with a replacement character",
    "oversized_event": "events over 64 MiB: left out",
    "oversized_value": "values over 1 MiB: cut off, or left out where they cannot be cut",
    "oversized_metadata": "more than a million metadata events: the rest was left out",
    # Meaning.
    "number_out_of_range": "numbers that no clock or counter reaches: read as absent",
    "event_without_time": "events without a time of start: left out",
    "activity_without_timestamps": "device activities that were recorded without a time: left out",
    "time_out_of_range": "events centuries away from the others: left out",
    "missing_duration": "events without a duration: read as ending when they start",
    "negative_duration": "events that end before they start: read as ending when they start",
    "unknown_category": "events of a category that is not known: kept, and counted as other",
}
"""Kind of defect to message."""


class DefectList:
    """The defects of one trace, while it is read."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, int, str]] = {}

    def add(self, kind: str, count: int = 1, first_offset: int = -1, detail: str = "") -> None:
        """Count `count` more defects of a kind in `MESSAGES`; none if `count` is 0."""
        if count:
            before, offset, known = self._found.get(kind, (0, -1, ""))
            offsets = [place for place in (offset, first_offset) if place >= 0]
            self._found[kind] = (before + count, min(offsets, default=-1), known or detail)

    def __contains__(self, kind: str) -> bool:
        return kind in self._found

    def sorted(self) -> tuple[Defect, ...]:
        """Return them in the order of the file, those without a place last."""
        defects = [
            Defect(kind, count, offset, MESSAGES.get(kind, kind.replace("_", " ")) + (f" ({detail})" if detail else ""))
            for kind, (count, offset, detail) in self._found.items()
        ]
        return tuple(sorted(defects, key=lambda defect: (defect.first_offset < 0, defect.first_offset, defect.kind)))
