"""Puts the agent into a process that runs: from Python 3.14 on, `sys.remote_exec` has the process do it itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from perfkit.record.plan import Plan

__all__ = ["can_inject", "inject", "script"]

AGENT: Final = Path(__file__).parents[1] / "agent"


def can_inject(pid: int) -> bool:
    """Tell whether a process runs a Python that can be asked to run a script, and this one can ask it."""
    ours = f"python{sys.version_info.major}.{sys.version_info.minor}"
    try:
        theirs = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
        program = Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return False
    return hasattr(sys, "remote_exec") and (program == ours or f"lib{ours}" in theirs)


def script(plan: Plan, folder: Path) -> str:
    """Return what the process is to run: it loads the agent by its place, and has it record as planned."""
    return (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('perfkit_agent', {str(AGENT / '__init__.py')!r}, "
        f"submodule_search_locations=[{str(AGENT)!r}])\n"
        "agent = sys.modules.setdefault('perfkit_agent', importlib.util.module_from_spec(spec))\n"
        "spec.loader.exec_module(agent)\n"
        f"agent.arm({plan.text(str(folder))!r})\n"
    )


def inject(pid: int, plan: Plan, folder: Path, path: Path) -> None:
    """Have a process run the agent; ``path`` is where the script is kept until it has run it.

    Raises:
        UsageError: The process cannot be asked.
    """
    path.write_text(script(plan, folder), encoding="utf-8")
    execute: Any = sys.remote_exec  # type: ignore[attr-defined]
    try:
        execute(pid, str(path))
    except (OSError, RuntimeError) as error:
        message = (
            f"process {pid} cannot be asked to record itself ({error}): use sudo, start the container with `--cap-add "
            f"SYS_PTRACE`, or start the program with `perfkit run -- COMMAND`"
        )
        raise UsageError(message) from error
