"""Evaluates the rules over an Attribution and ranks what they find."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.advise.command import with_command
from perfkit.advise.next_steps import propose
from perfkit.advise.pricing import price, promise
from perfkit.advise.recording import in_words_of
from perfkit.advise.registry import EVERY_RULE, failure
from perfkit.advise.rules import RULES, pk602_late_rank
from perfkit.advise.unprofiled import unprofiled
from perfkit.advise.verdict import AVERAGES, largest_kernel, pronounce
from perfkit.model.advice import Advice
from perfkit.model.quantity import sentence
from perfkit.model.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perfkit.advise.registry import RuleSet
    from perfkit.advise.rule import Rule
    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution, Timeline
    from perfkit.model.fleet import Fleet
    from perfkit.model.prediction import Predict

__all__ = ["advise"]


def advise(  # noqa: PLR0913  an option each
    attribution: Attribution,
    rules: RuleSet = EVERY_RULE,
    *,
    fleet: Fleet | None = None,
    recorded_as: str = "",
    path: str = "",
    predict: Predict | None = None,
    slowdown: tuple[float, float, float] | None = None,
) -> Advice:
    """Find what costs time, largest first, and sum it up in a sentence.

    Args:
        attribution: Where the time goes.
        rules: The rules to evaluate.
        fleet: What the ranks say together, where the attribution is that of many.
        recorded_as: The format of the trace, which decides how to record more.
        path: Where the trace is, for commands to name it.
        slowdown: How many times as long steps took while recorded, with its interval, where that was measured.
        predict: Replays the trace without a fault; without it, what is saved is a bound from the fault's own time.

    Returns:
        The advice; it has no findings where nothing is worth anybody's time.
    """
    found: list[tuple[Rule, Finding]] = []
    problems = list(rules.problems)
    for rule in rules.rules:
        try:
            priced = [price(finding, attribution, predict) for finding in evaluate(rule, attribution, fleet)]
            priced = [finding and unprofiled(finding, attribution, slowdown) for finding in priced]
            priced = [finding and promise(finding, attribution) for finding in priced]
        except Exception as error:
            if rule in RULES:  # a mistake of ours is not to be hidden
                raise
            problems.append(failure(f"rule {rule.code} of a package", error))
        else:
            found += [(rule, with_command(in_words_of(recorded_as, one), path)) for one in priced if one is not None]
    found.sort(key=lambda pair: (-pair[1].saving_ns, pair[1].rule))
    findings = Table(finding for _, finding in found)
    # A finding that saves nothing says something of the recording or of memory: that is not the news.
    worst = findings[0] if findings and findings[0].saving_ns else None
    timeline = main_timeline(attribution, worst.timeline if worst else "")
    symptom = ""
    if worst and timeline:
        symptom = found[0][0].thread_symptom if timeline.kind == "host_thread" else found[0][0].symptom
    waited_for = fleet is not None and worst is not None and worst.rule == pk602_late_rank.RULE.code
    if fleet and waited_for:
        verdict = sentence(fleet.verdict)
    elif recorded_as in AVERAGES:
        verdict = largest_kernel(attribution)
    else:
        every = {rule.code for rule in RULES} <= {rule.code for rule in rules.rules}
        verdict = pronounce(attribution, timeline, symptom, worst, recorded_as, every=every)
    return Advice(
        verdict=verdict,
        timeline=timeline.id if timeline else "",
        findings=findings,
        next_steps=propose(attribution, timeline, findings, recorded_as),
        problems=tuple(problems),
    )


def evaluate(rule: Rule, attribution: Attribution, fleet: Fleet | None) -> Iterable[Finding]:
    """Evaluate one rule."""
    if fleet is not None and rule.evaluate_fleet is not None:
        return rule.evaluate_fleet(attribution, fleet)
    return rule.evaluate(attribution)


def main_timeline(attribution: Attribution, wanted: str) -> Timeline | None:
    """Return the timeline of this id, or else the one that computes the smallest part of its window."""
    timelines = [timeline for timeline in attribution.timelines if timeline.window_ns]
    if wanted:
        return next(timeline for timeline in timelines if timeline.id == wanted)
    return min(timelines, key=lambda timeline: timeline.busy.get("compute", 0) / timeline.window_ns, default=None)
