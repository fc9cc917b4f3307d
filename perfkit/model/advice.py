"""Advice: findings ranked by what they cost, and the one sentence to read first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from perfkit.model.table import Table

__all__ = ["Advice", "Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault with its evidence. Until a replay predicts it, the saving is the bound: the time lost to the fault.

    Attributes:
        rule: Code of the rule, such as ``PK101``.
        title: The fault in a few words.
        where: Source line, operator or kernel; empty where the trace does not say.
        share: Part of the window, 0 to 1.
        saving_ns: Predicted saving over the window.
        saving_low_ns: Lower end of its interval.
        saving_high_ns: Upper end of its interval.
        evidence: Sentences with numbers from the trace.
        fix: What to change.
        safety: Whether the change can alter results.
        command: What to run next; empty where nothing applies it yet.
    """

    rule: str
    title: str
    where: str
    share: float
    saving_ns: int
    saving_low_ns: int
    saving_high_ns: int
    evidence: tuple[str, ...]
    fix: str
    safety: Literal["safe", "check", "lossy"]
    command: str


@dataclass(frozen=True, slots=True)
class Advice:
    """The verdict in one sentence and the findings behind it, largest saving first."""

    verdict: str
    findings: Table[Finding]
