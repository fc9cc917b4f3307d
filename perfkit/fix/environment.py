"""What a verdict depends on, beside the site: the chip, its driver, the versions, the modes, the kernels themselves."""

from __future__ import annotations

import functools
import hashlib
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from perfkit.fix.given import Given

__all__ = ["driver", "environment", "processor", "triton_version"]

DRIVER: Final = Path("/proc/driver/nvidia/version")


def environment(given: Given) -> tuple[object, ...]:
    """Return what a verdict depends on, beside the site."""
    device = given.device
    autocast = torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type)
    return (
        given.train, sorted(given.wanted), processor(device), driver(device), torch.version.cuda, torch.__version__,
        triton_version(), torch.get_num_threads() if device.type == "cpu" else 0, autocast,
        torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision(),
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.benchmark, kernels(),
    )  # fmt: skip


def processor(device: torch.device) -> str:
    """Name a device."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    names = [line.split(":", 1)[1].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def driver(device: torch.device) -> str:
    """Return the version of the driver, of the CPU its architecture: what generated code runs on."""
    if device.type != "cuda":
        return platform.machine()
    found = [match[0] for line in _lines(DRIVER) if (match := re.search(r"\d+\.\d+(\.\d+)?", line))]
    return found[0] if found else str(torch._C._cuda_getDriverVersion())  # noqa: SLF001  the CUDA version it is made for


@functools.cache
def kernels() -> str:
    """Return a digest of the kernels' sources: a kernel that was changed is judged anew."""
    import perfkit_kernels

    digest = hashlib.sha256()
    for path in sorted(Path(perfkit_kernels.__path__[0]).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def triton_version() -> str:
    """Return the version of Triton, or nothing."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("triton")
    except PackageNotFoundError:
        return ""


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
