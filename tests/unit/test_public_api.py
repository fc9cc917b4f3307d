"""The public surface is a fact that changes only on purpose."""

import subprocess
import sys

import pytest

import perfkit
from perfkit import errors

EXPORTED = {
    "MissingExtraError",
    "NoTimelineError",
    "PerfkitError",
    "UnknownFormatError",
    "UnreadableTraceError",
    "UsageError",
    "__version__",
    "diagnose",
    "diff",
    "instrument",
    "load",
    "optimize",
    "profile",
    "request",
    "request_id",
    "what_if",
}


def test_all_names_exactly_what_is_public() -> None:
    assert set(perfkit.__all__) == EXPORTED
    assert list(perfkit.__all__) == sorted(perfkit.__all__)


@pytest.mark.parametrize("name", sorted(EXPORTED))
def test_every_exported_name_can_be_had(name: str) -> None:
    assert getattr(perfkit, name) is not None
    assert name in dir(perfkit)


def test_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'diagnoze'"):
        perfkit.diagnoze  # noqa: B018


def _imported_by(statement: str) -> set[str]:
    probe = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", probe], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_import_of_the_package_is_cheap() -> None:
    assert not {"numpy", "pandas", "rich", "click"} & _imported_by("import perfkit")


def test_help_imports_neither_numpy_nor_pandas() -> None:
    modules = _imported_by(
        "import contextlib, sys, perfkit.cli\n"
        "sys.argv = ['perfkit', '--help']\n"
        "with contextlib.suppress(SystemExit):\n    perfkit.cli.main()"
    )
    assert "perfkit.cli" in modules
    assert not {"numpy", "pandas"} & modules


def test_every_error_is_a_perfkit_error_with_an_exit_code() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert {cls.__name__ for cls in classes} == {name for name in EXPORTED if name.endswith("Error")}
    for cls in classes:
        assert issubclass(cls, perfkit.PerfkitError)
        assert cls.exit_code == 2


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("trace.json: is empty", "trace.json: is empty"),
        ("a\nb\x1b[31m.json: is empty", r"a\nb\x1b[31m.json: is empty"),
        ("\udcff.json: is empty", r"\udcff.json: is empty"),
        ("Größe.json: is empty", "Größe.json: is empty"),
    ],
)
def test_message_is_one_line_without_control_characters(message: str, shown: str) -> None:
    assert str(errors.PerfkitError(message)) == shown


def test_missing_extra_names_the_command_that_brings_it() -> None:
    error = errors.MissingExtraError("to_pandas()", "tables")
    assert str(error) == "to_pandas() needs packages that are not installed: run `pip install 'perfkit[tables]'`"
    assert isinstance(error, ImportError)
