"""The other commands, and what the command line as a whole promises."""

from __future__ import annotations

import shutil
import subprocess
import sys

import click
import pytest

import perfkit
from perfkit import cli
from perfkit.advise import RULES
from tests.unit.cli.command_line import environment, fail, run, trace


def test_version() -> None:
    assert run("--version").stdout.decode().split() == ["perfkit,", "version", perfkit.__version__]


def test_help_names_every_command_in_full() -> None:
    text = run("--help").stdout.decode()
    assert text.count("...") == 1  # of [ARGS]
    for name in cli.COMMANDS:
        assert f"\n  {name} " in text


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_that_fits(name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0
    assert max(map(len, done.stdout.decode().splitlines())) <= 80


def test_rules_are_listed() -> None:
    lines = run("rules").stdout.decode().splitlines()
    assert [line.split()[:2] for line in lines] == [[rule.code, rule.name] for rule in RULES]
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("wanted", ["PK101", "pk101", "loader-starves-device"])
def test_a_rule_is_explained_by_code_or_name(wanted: str) -> None:
    text = run("explain", wanted).stdout.decode()
    assert text.startswith("PK101 loader-starves-device: ")
    assert "\nFix safety\n" in text


def test_an_unknown_rule_is_an_error_with_a_hint() -> None:
    assert fail("explain", "PK1O1") == "there is no rule 'PK1O1': did you mean PK101?"
    assert fail("explain", "pk10") == ("pk10 stands for several rules: PK101, PK102, PK103, PK104, PK105, PK106")
    assert fail("explain", "zzz") == "there is no rule 'zzz': `perfkit rules` lists them"


@pytest.mark.parametrize(
    ("word", "meant"),
    [("diagnos", "diagnose"), ("whatif", "what-if"), (str(trace()), f"diagnose {trace()}"), ("zzz", "")],
)
def test_what_is_no_command_may_be_near_one_or_something_to_read(word: str, meant: str) -> None:
    done = run(word)
    assert done.returncode == 2
    assert (f"Did you mean `perfkit {meant}`?" in done.stderr.decode()) == bool(meant)
    assert f"No such command '{word}'." in done.stderr.decode()


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_scripts_name_the_program(shell: str) -> None:
    assert b"_PERFKIT_COMPLETE" in run("completion", shell).stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="click asks bash for its version")
def test_completion_script_for_bash_is_valid() -> None:
    script = run("completion", "bash").stdout
    subprocess.run(["bash", "-n"], input=script, check=True)


@pytest.mark.parametrize(
    ("words", "offered"),
    [("perfkit di", "diagnose"), ("perfkit diagnose --fo", "--format"), ("perfkit explain pk9", "PK901")],
)
def test_commands_options_and_rules_are_completed(words: str, offered: str) -> None:
    done = run(_PERFKIT_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1))
    assert f"plain,{offered}" in done.stdout.decode().split()


def imports(*arguments: str) -> set[str]:
    """The modules that a call of the command line imports, as Python itself reports them."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "perfkit.cli", *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["diagnose", "--help"], ["explain", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    modules = imports(*arguments)
    assert "click" in modules
    assert not {"numpy", "pandas", "rich", "perfkit.advise", "perfkit.ingest"} & modules


def test_a_diagnosis_imports_neither_pandas_nor_what_it_does_not_draw() -> None:
    modules = imports("diagnose", str(trace()))
    assert "numpy" in modules
    assert not {"pandas", "rich.console", "rich.progress", "perfkit.report.markdown", "perfkit.report.json"} & modules


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), click.Abort()])
def test_an_interruption_ends_with_130(monkeypatch: pytest.MonkeyPatch, interruption: BaseException) -> None:
    def interrupted(**_: object) -> None:
        raise interruption

    monkeypatch.setattr(cli.cli, "main", interrupted)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
