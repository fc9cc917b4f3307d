"""Which rules are evaluated: switched off, chosen, and added by packages that are installed."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.advise.registry import EVERY_RULE, choose, installed
from perfkit.cli.settings import chosen_rules
from perfkit.errors import UsageError
from tests.unit.cli.command_line import fail, run, trace

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
    from perfkit.advise import Rule
    from perfkit.model.advice import Finding

    def evaluate(attribution):
        line = attribution.timelines[0]
        yield Finding("XX001", "Everything is slow", line.id, "here", 1.0, line.window_ns, 0, line.window_ns,
                      ("All 100 %.",), "Do less.", "safe", "")

    DOCUMENTATION = "XX001 everything: it is slow."
    RULES = [Rule("XX001", "everything", "Everything is slow", "is slow", "is slow", DOCUMENTATION, evaluate)]
"""
BROKEN = """
    from perfkit.advise import Rule

    def evaluate(attribution):
        raise RuntimeError("no\\nluck")
        yield

    RULES = Rule("XX002", "broken", "Broken", "breaks", "breaks", "XX002 broken: it breaks.", evaluate)
"""
UNIMPORTABLE = "import a_package_that_is_not_there"
DOUBLE = GOOD.replace("XX001", "PK101")


@pytest.fixture
def installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs a package with rules, as pip would have it on disk."""

    def install(source: str) -> None:
        (tmp_path / "more_rules.py").write_text(textwrap.dedent(source))
        described = tmp_path / "more_rules-1.0.dist-info"
        described.mkdir()
        (described / "METADATA").write_text("Metadata-Version: 2.1\nName: more-rules\nVersion: 1.0\n")
        named = "more_rules:RULES" if "RULES" in source else "more_rules"
        (described / "entry_points.txt").write_text(f"[perfkit.rules]\nmore = {named}\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return install


def codes(*arguments: str) -> list[str]:
    document = json.loads(run("diagnose", trace(), "--format", "json", *arguments).stdout)
    return [finding["rule"] for finding in document["findings"]]


def test_a_rule_can_be_switched_off_by_code_by_its_beginning_and_by_name() -> None:
    assert codes() == ["PK103"]
    assert codes("--ignore", "PK103") == codes("--ignore", "PK1") == codes("--ignore", "single-process-loading") == []


def test_rules_can_be_selected() -> None:
    assert codes("--select", "PK3") == []
    assert codes("--select", "PK1,PK201") == ["PK103"]


def test_the_longer_text_decides() -> None:
    kept = [rule.code for rule in choose(EVERY_RULE, ["PK103", "PK2"], ["PK1", "PK201"]).rules]
    assert kept == ["PK103", "PK202", "PK203"]


def test_a_text_that_means_no_rule_is_an_error() -> None:
    assert fail("diagnose", trace(), "--ignore", "PK1O3") == "there is no rule 'PK1O3': did you mean PK103?"


def test_a_project_switches_rules_off_and_the_command_line_selects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.perfkit]\nselect = ["PK1"]\nignore = ["PK104"]\n')
    below = tmp_path / "experiments"
    below.mkdir()
    monkeypatch.chdir(below)
    assert [rule.code for rule in chosen_rules(None, "PK105").rules] == ["PK101", "PK102", "PK103", "PK106"]
    assert [rule.code for rule in chosen_rules("PK20", None).rules] == ["PK201", "PK202", "PK203"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[tool.perfkit]\nignore = "PK101"\n', "is no list of codes"),
        ("[tool.perfkit\n", "cannot be read for [tool.perfkit]"),
        ('[tool.perfkit]\nignore = ["nothing"]\n', "there is no rule 'nothing'"),
    ],
)
def test_settings_that_mean_nothing_are_an_error(
    text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as error:
        chosen_rules(None, None)
    assert says in str(error.value)


def test_a_package_adds_rules(installed_package: Any) -> None:
    installed_package(GOOD)
    assert codes() == ["XX001", "PK103"]
    assert codes("--ignore", "XX") == ["PK103"]
    assert b"XX001  everything" in run("rules").stdout
    assert run("explain", "xx001").stdout.startswith(b"XX001 everything: it is slow.")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (BROKEN, "Rule XX002 of a package failed: RuntimeError: no luck."),
        (UNIMPORTABLE, "The rules of more_rules failed: ModuleNotFoundError: No module named"),
        (DOUBLE, "More_rules:RULES has PK101, which there is already: it is left out."),
        ("RULES = 7", "The rules of more_rules:RULES failed: TypeError"),
        ("RULES = [7]", "More_rules:RULES names no rule: it is left out."),
    ],
)
def test_a_broken_package_is_one_line(source: str, says: str, installed_package: Any) -> None:
    installed_package(source)
    done = run("diagnose", trace(), "--format", "json")
    document = json.loads(done.stdout)
    assert [finding["rule"] for finding in document["findings"]] == ["PK103"]
    (problem,) = document["problems"]
    assert problem.startswith(says)
    assert "\n" not in problem
    assert not done.stderr


def test_without_packages_there_are_our_own() -> None:
    assert installed() == EVERY_RULE
