"""The rules that there are: our own, and those of installed packages; and which of them are wanted.

A package adds rules by an entry point of the group ``perfkit.rules`` that names a `Rule`, or several of them.
"""

from __future__ import annotations

import difflib
import sys
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from perfkit.advise.rule import Rule
from perfkit.advise.rules import RULES
from perfkit.errors import UsageError
from perfkit.model.quantity import sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["EVERY_RULE", "RuleSet", "choose", "failure", "installed", "look_up"]

GROUP: Final = "perfkit.rules"


class RuleSet(NamedTuple):
    """Rules to evaluate, and sentences on those that could not be had."""

    rules: tuple[Rule, ...]
    problems: tuple[str, ...] = ()


EVERY_RULE: Final = RuleSet(RULES)
"""Our own rules."""


def installed() -> RuleSet:
    """Return our own rules and those of installed packages, by code; a package that is broken is left out."""
    found = {rule.code: rule for rule in RULES}
    problems = []
    if any(map(has_rules, sys.path)):
        # Importing this, and reading what every package says of itself, takes longer than a small diagnosis.
        from importlib.metadata import entry_points

        for entry in entry_points(group=GROUP):
            try:
                named = entry.load()
                added = [named] if isinstance(named, Rule) else list(named)
            except Exception as error:  # noqa: BLE001  whatever it is that a package does when it is imported
                problems.append(failure(f"the rules of {entry.value}", error))
                continue
            for rule in added:
                if not isinstance(rule, Rule) or rule.code in found:
                    what = f"has {rule.code}, which there is already" if isinstance(rule, Rule) else "names no rule"
                    problems.append(sentence(f"{entry.value} {what}: it is left out"))
                else:
                    found[rule.code] = rule
    return RuleSet(tuple(found[code] for code in sorted(found)), tuple(problems))


def has_rules(folder: str) -> bool:
    """Tell whether a package that is installed in a folder says that it has rules."""
    try:
        files = Path(folder or ".").glob("*-info/entry_points.txt")
        return any(GROUP in file.read_text("utf-8", "replace") for file in files)
    except OSError:
        return False


def failure(what: str, error: Exception) -> str:
    """Say in one line that something of a third party has failed."""
    text = " ".join(str(error).split())
    return sentence(f"{what} failed: {type(error).__name__}{f': {text}' if text else ''}".rstrip("."))


def choose(among: RuleSet, select: Sequence[str] = (), ignore: Sequence[str] = ()) -> RuleSet:
    """Choose rules.

    Args:
        among: The rules to choose from.
        select: Codes, beginnings of codes such as ``PK3``, or names; all if empty.
        ignore: The same, of rules that are not wanted. Of one that is in both, the longer text decides.

    Raises:
        UsageError: A text is that of no rule.
    """
    wanted = [*select, *ignore]
    for text in wanted:
        if not any(matches(text, rule) for rule in among.rules):
            look_up(text, among)
    kept = [
        rule for rule in among.rules if (not select or fit(rule, select)) and fit(rule, ignore) <= fit(rule, select)
    ]
    return among._replace(rules=tuple(kept))


def fit(rule: Rule, texts: Iterable[str]) -> int:
    """Return the length of the longest text that means a rule, or 0."""
    return max((len(text) for text in texts if matches(text, rule)), default=0)


def matches(text: str, rule: Rule) -> bool:
    """Tell whether a text is the name of a rule, its code, or the beginning of that."""
    return bool(text) and (rule.code.startswith(text.upper()) or rule.name == text.lower())


def look_up(wanted: str, among: RuleSet) -> Rule:
    """Return the rule of this code or name.

    Raises:
        UsageError: There is none.
    """
    by_name = {name: rule for rule in among.rules for name in (rule.code.lower(), rule.name)}
    found = by_name.get(wanted.lower())
    if found is None:
        meant = [rule.code for rule in among.rules if wanted and rule.code.startswith(wanted.upper())]
        if meant:
            message = f"{wanted} stands for several rules: {', '.join(meant)}"
            raise UsageError(message)
        close = difflib.get_close_matches(wanted.lower(), by_name)
        # Of codes that are equally close, the one that begins with the same letters.
        alike = max(close, key=lambda name: begins_alike(name, wanted.lower()), default="")
        hint = f"did you mean {by_name[alike].code}?" if close else "`perfkit rules` lists them"
        message = f"there is no rule {wanted!r}: {hint}"
        raise UsageError(message)
    return found


def begins_alike(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
