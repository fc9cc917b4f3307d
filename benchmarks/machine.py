"""What the numbers were measured on: the machine and the versions, without anything that names its owner."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any, Final

PACKAGES: Final = ("perfkit", "numpy", "pandas", "orjson", "isal", "HolisticTraceAnalysis")

VERSIONS: Final = """
import importlib.metadata as metadata, sys
for name in sys.argv[1:]:
    try:
        print(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        pass
"""


def fingerprint(pythons: dict[str, Path]) -> dict[str, Any]:
    """Describe the machine, and the packages of each environment."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(_memory_bytes() / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "scanner": "native" if _has_native_scanner(pythons["perfkit"]) else "python",
        "packages": {name: _versions(python) for name, python in pythons.items()},
        "commit": _commit(),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
    }


def cpu_model() -> str:
    """Return the model of the processor as the operating system calls it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text())):
        return found[1].strip()
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return platform.processor() or platform.machine()


def file_name(machine: dict[str, Any]) -> str:
    """Return what to call the results of a machine."""
    return re.sub(r"[^a-z0-9]+", "-", f"{machine['cpu']} {machine['cores']} cores".lower()).strip("-") + ".json"


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _versions(python: Path) -> dict[str, str]:
    command: list[str | Path] = [python, "-c", VERSIONS, *PACKAGES]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(line.split() for line in lines)


def _has_native_scanner(python: Path) -> bool:
    command: list[str | Path] = [python, "-P", "-c", "import perfkit.ingest._scan"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _commit() -> str:
    """Return the commit, marked where files differ from it; empty outside a repository."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return done.stdout.strip()
