"""Meanings of names, from one data file: which calls launch, copy, wait or allocate; which kernels communicate."""

from __future__ import annotations

import functools
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.model.trace import Trace

__all__ = ["Names"]


@functools.cache
def expressions() -> dict[str, dict[str, str | list[str]]]:
    """Return section -> group -> regular expression, or alternatives, of ``names.toml``."""
    # Not by importlib.resources: importing that takes longer than reading the file.
    return tomllib.loads(Path(__file__).with_name("names.toml").read_text(encoding="utf-8"))


@functools.cache
def pattern(section: str, group: str) -> re.Pattern[str]:
    """Return the pattern of a group, compiled when it is first asked for."""
    found = expressions()[section][group]
    return re.compile(found if isinstance(found, str) else "|".join(found))


class Names:
    """Answers, for rows of one trace, which of them bear a name of a group; each distinct name is matched once."""

    def __init__(self, trace: Trace) -> None:
        """Look at nothing yet."""
        self.trace = trace
        self._known: dict[tuple[str, str], NDArray[np.int8]] = {}

    def match(self, section: str, group: str, rows: NDArray[Any]) -> NDArray[np.bool_]:
        """Return a mask over ``rows`` (row indices of the trace)."""
        verdicts = self.verdicts(section, group, self.trace.columns["name"][rows])
        return verdicts > 0

    def verdicts(self, section: str, group: str, names: NDArray[np.int32]) -> NDArray[np.int8]:
        """Return 1 where the string of index ``names`` matches, else 0; a negative index is no name."""
        strings = self.trace.strings
        known = self._known.get((section, group))
        if known is None:
            known = self._known[section, group] = np.full(len(strings) + 1, -1, np.int8)
            known[-1] = 0  # where there is no name
        names = np.maximum(names, -1)
        answers = known[names]
        unknown = answers < 0
        if unknown.any():
            seen = np.zeros(len(strings) + 1, bool)
            seen[names[unknown]] = True
            search = pattern(section, group).search
            for index in np.flatnonzero(seen).tolist():
                known[index] = search(strings[index]) is not None
            answers = known[names]
        return answers
