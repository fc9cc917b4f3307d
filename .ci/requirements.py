"""Print requirements of this project, one a line: `python requirements.py build-system|backend|EXTRA`.

`build-system` is what pyproject.toml builds with, `backend` what that asks for on top (cmake and ninja where the
machine has none that will do), EXTRA a table of `project.optional-dependencies`. Run from the project's folder.
"""

import sys
import tomllib
from pathlib import Path


def requirements(of: str) -> list[str]:
    """Return the requirement specifiers that `of` names; KeyError for an extra that is not there."""
    pyproject = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    if of == "build-system":
        return list(pyproject["build-system"]["requires"])
    if of == "backend":
        from scikit_build_core.build import get_requires_for_build_wheel

        return list(get_requires_for_build_wheel())
    return list(pyproject["project"]["optional-dependencies"][of])


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in requirements(sys.argv[1])))
