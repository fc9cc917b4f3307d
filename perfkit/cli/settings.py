"""What a project sets for perfkit: ``[tool.perfkit]`` in the ``pyproject.toml`` of this folder or one above."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from perfkit.advise.registry import RuleSet

__all__ = ["chosen_rules"]

FILE: Final = "pyproject.toml"
KEYS: Final = ("select", "ignore")


def chosen_rules(select: str | None, ignore: str | None) -> RuleSet:
    """Return the rules to evaluate: what the command line says of them comes before what the project says.

    Args:
        select: Codes or names with commas between, as given on the command line; None for what the project selects.
        ignore: The same for rules to leave out, beside those that the project leaves out.

    Raises:
        UsageError: There is no such rule, or the project's settings cannot be read.
    """
    from perfkit.advise.registry import choose, installed

    project = settings(Path.cwd())
    selected = split(select) if select is not None else project["select"]
    return choose(installed(), selected, [*project["ignore"], *split(ignore or "")])


def split(text: str) -> list[str]:
    """Return the parts between commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def settings(folder: Path) -> dict[str, list[str]]:
    """Return the project's settings.

    Raises:
        UsageError: The file is no TOML, or a setting is no list of texts.
    """
    file = next((place / FILE for place in (folder, *folder.parents) if (place / FILE).is_file()), None)
    table = read(file) if file else {}
    for key in KEYS:
        value = table.setdefault(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            message = f'{file}: `{key}` of [tool.perfkit] is no list of codes, such as {key} = ["PK304"]'
            raise UsageError(message)
    return table


def read(file: Path) -> dict[str, Any]:
    """Return the table of a file, empty where it has none.

    Raises:
        UsageError: It is no TOML.
    """
    try:
        text = file.read_text(encoding="utf-8")
        if "[tool.perfkit" not in text:
            return {}
        found = tomllib.loads(text)["tool"]["perfkit"]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError) as error:
        message = f"{file} cannot be read for [tool.perfkit]: {error}"
        raise UsageError(message) from error
    return dict(found) if isinstance(found, dict) else {}
