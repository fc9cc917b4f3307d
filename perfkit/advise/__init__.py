"""From an Attribution to Advice: findings ranked by the time they cost, and the sentence to read first."""

from perfkit.advise.engine import advise
from perfkit.advise.registry import EVERY_RULE, RuleSet
from perfkit.advise.rule import Rule
from perfkit.advise.rules import RULES

__all__ = ["EVERY_RULE", "RULES", "Rule", "RuleSet", "advise"]
