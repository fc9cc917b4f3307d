"""Advice: findings ranked by what they cost, and the one sentence to read first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from perfkit.model.prediction import WhatIf
    from perfkit.model.table import Table

__all__ = ["Advice", "Finding"]


class Finding(NamedTuple):
    """One fault with its evidence. Where no replay could predict the saving, it is a bound from the fault's own time.

    Attributes:
        rule: Code of the rule, such as ``PK101``.
        title: The fault in a few words.
        timeline: Id of the timeline that it costs the most.
        where: Source line, operator or kernel; empty where the trace does not say.
        share: Part of the window that the fault takes, 0 to 1.
        saving_ns: Predicted saving over the window.
        saving_low_ns: Lower end of its interval.
        saving_high_ns: Upper end of its interval.
        evidence: Sentences with numbers; names from the trace stand between backticks.
        fix: What to change.
        safety: Whether the change can alter results.
        command: What tests or applies it; empty where nothing does.
        causes: Idle causes and busy classes whose time on the timeline is the evidence, where it is that of whole ones.
        what_if: The program without the fault, for a replay; none where a replay cannot tell.
        records: Events that a profiler wrote down in the fault's time, on a thread that computes.
        beyond_ns: What a repair may save at most beyond all that is known to be lost.
        replayed_ns: What a replay without the fault saves over the window, of which no more than the fault's own time
            counts; None where there was no replay, and the saving is a bound.
        assumptions: What that takes for granted; sentences, doubts first.
        apart: What a profiler took, which is no part of the saving: some words, or nothing.
        rows: Rows of the trace that prove it, for a picture to mark; none where causes or names do.
    """

    rule: str
    title: str
    timeline: str
    where: str
    share: float
    saving_ns: int
    saving_low_ns: int
    saving_high_ns: int
    evidence: tuple[str, ...]
    fix: str
    safety: Literal["safe", "check", "lossy"]
    command: str
    causes: tuple[str, ...] = ()
    what_if: tuple[WhatIf, ...] = ()
    records: int = 0
    beyond_ns: int = 0
    replayed_ns: int | None = None
    assumptions: tuple[str, ...] = ()
    apart: str = ""
    rows: tuple[int, ...] = ()


class Advice(NamedTuple):
    """What to make of an Attribution.

    Attributes:
        verdict: The sentence to read first.
        timeline: Id of the timeline that the verdict speaks of; empty where nothing was recorded.
        findings: The faults, largest saving first.
        next_steps: What to run, or to record differently, to learn more; sentences.
        problems: What could not be looked for, and why; sentences.
    """

    verdict: str
    timeline: str
    findings: Table[Finding]
    next_steps: tuple[str, ...]
    problems: tuple[str, ...] = ()
