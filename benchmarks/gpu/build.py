"""Makes perfkit importable from this repository where there is no network, but CMake, Ninja and nanobind."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from typing import TYPE_CHECKING, Final

from benchmarks.gpu.steps import ROOT, FailedError, tell

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.gpu.steps import Place

SITE: Final = ROOT / "build" / "gpu" / "site"
NEEDED: Final = ("numpy", "click", "rich", "jinja2")
"""What perfkit cannot do without; the parts that only measure kernels do."""


def prepare(place: Place, wheels: Path | None) -> None:
    """Unpack wheels that were brought along, build the extension where it is missing, and say what is not there."""
    if wheels is not None and wheels.is_dir():
        for wheel in sorted(wheels.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(SITE)
    for folder in (SITE, ROOT / "kernels"):
        if folder.is_dir() and str(folder) not in sys.path:
            sys.path.append(str(folder))
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        tell(f"not installed, and steps that need it will fail: {', '.join(missing)}; bring wheels, see --wheels")
    if importlib.util.find_spec("perfkit.ingest._scan") is None:
        try:
            compile_extension(place)
        except (FailedError, FileNotFoundError) as error:
            tell(f"no extension was built, so traces are read by the slower scanner in Python: {str(error)[-500:]}")


def compile_extension(place: Place) -> None:
    """Build ``perfkit.ingest._scan`` and put it beside its sources."""
    folder = ROOT / "build" / "gpu" / "cmake"
    nanobind = place.python("-m", "nanobind", "--cmake_dir", seconds=60).strip()
    options = [f"-Dnanobind_DIR={nanobind}", f"-DPython_EXECUTABLE={sys.executable}", "-DCMAKE_BUILD_TYPE=Release"]
    place.command("cmake", "-G", "Ninja", "-S", ROOT, "-B", folder, *options, seconds=120)
    place.command("cmake", "--build", folder, seconds=300)
    place.command("cmake", "--install", folder, "--prefix", ROOT, seconds=60)
