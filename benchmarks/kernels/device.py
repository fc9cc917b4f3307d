"""What kernels are measured on: the device, and the versions of all that takes part."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import fingerprint

PACKAGES: Final = ("torch", "triton", "liger-kernel", "transformers", "numpy")


def describe(device: Any) -> dict[str, Any]:
    """Describe the machine, its device, and the packages of this interpreter."""
    from traces.record.recorder import machine_of

    found = fingerprint({"perfkit": Path(sys.executable)}) | machine_of(device) | {"versions": _versions()}
    if driver := _driver():
        found["driver"] = driver
    return found


def device_name(machine: dict[str, Any]) -> str:
    """Return what to call results of a machine: `h100`, or the processor."""
    if "gpu" in machine:
        words = str(machine["gpu"]).lower().split()
        return next((word for word in words if re.search(r"\d", word)), "-".join(words))
    return re.sub(r"[^a-z0-9]+", "-", f"{machine['cpu']} {machine['cpus']} cores".lower()).strip("-")


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _driver() -> str:
    """Return the version of the NVIDIA driver, where its library says it."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001  no library, or no driver: errors of both are of many kinds
        return ""
    version = pynvml.nvmlSystemGetDriverVersion()
    return version.decode() if isinstance(version, bytes) else str(version)
