"""Make a virtual environment: `python3 make_venv.py FOLDER`. Leaves one that is already there alone.

Debian ships Python without `ensurepip` unless python3-venv is installed; where pip itself is there, it does instead.
Ends with one line that says what to install where neither is.
"""

import subprocess
import sys
import venv
from importlib.util import find_spec
from pathlib import Path

OLDEST = (3, 11)


def main(folder: Path) -> str | None:
    """Make the environment, and return what is missing for it, or None."""
    if sys.version_info < OLDEST:
        have = sys.version.split()[0]
        return f"perfkit needs Python 3.11 or later, and {sys.executable} is {have}: run `make PYTHON=python3.12 ...`"
    python = folder / "bin" / "python"
    if python.exists():
        return None
    has_ensurepip = find_spec("ensurepip") is not None
    if not has_ensurepip and find_spec("pip") is None:
        return "This Python has neither ensurepip nor pip: run `apt install python3-venv`, then try again"
    venv.create(folder, with_pip=has_ensurepip, symlinks=True)
    if not has_ensurepip:
        subprocess.run([sys.executable, "-m", "pip", "--quiet", "--python", python, "install", "pip"], check=True)
    return None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
