"""What a rule is: a fault that can be told from an Attribution, and how to put it to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution
    from perfkit.model.fleet import Fleet

__all__ = ["Rule"]


class Rule(NamedTuple):
    """One fault.

    Attributes:
        code: Such as ``PK101``.
        name: The fault in words joined by hyphens, such as ``loader-starves-device``.
        title: The fault in a few words, as a sentence without its full stop.
        symptom: What a device (or thread) with this fault does, to follow its name: ``waits for data``.
        thread_symptom: The same of a host thread, in a trace without device activity.
        documentation: What `perfkit explain` prints: What it does, Why it is slow, Example, Fix, Fix safety.
        evaluate: Finds the fault in an Attribution: at most one Finding, nothing where it costs too little.
        evaluate_fleet: Finds it where there are many ranks, in the attribution of all and in what they say together;
            None where the attribution is enough.
    """

    code: str
    name: str
    title: str
    symptom: str
    thread_symptom: str
    documentation: str
    evaluate: Callable[[Attribution], Iterable[Finding]]
    evaluate_fleet: Callable[[Attribution, Fleet], Iterable[Finding]] | None = None
