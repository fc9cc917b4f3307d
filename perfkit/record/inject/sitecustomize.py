"""Runs at the start of every Python below `perfkit record` or `perfkit run`: has the agent wait, and nothing else.

The folder of this file is first on PYTHONPATH. A sitecustomize that this one hides is run as if it were not there, and
no failure in here reaches the program.
"""

import importlib.machinery
import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def _run_hidden() -> None:
    """Run the sitecustomize that Python would have found without this folder."""
    path = [entry for entry in sys.path if os.path.abspath(entry or ".") != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", path)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


def _arm() -> None:
    """Load the agent by its place, under a name of its own, and arm it: this Python need not have perfkit installed."""
    folder = os.path.join(os.path.dirname(_HERE), "agent")
    spec = importlib.util.spec_from_file_location(
        "perfkit_agent",
        os.path.join(folder, "__init__.py"),
        submodule_search_locations=[folder],
    )
    assert spec is not None
    assert spec.loader is not None
    agent = importlib.util.module_from_spec(spec)
    sys.modules["perfkit_agent"] = agent
    spec.loader.exec_module(agent)
    if "PERFKIT_RECORD" in os.environ:
        agent.arm(os.environ["PERFKIT_RECORD"])
    else:
        agent.mark_requests()
        agent.cancel_at_exit()


if "PERFKIT_RECORD" in os.environ or "PERFKIT_RUN" in os.environ:
    try:
        _arm()
    except Exception as error:  # noqa: BLE001  the program comes first
        sys.stderr.write(f"perfkit: this process is not recorded: {type(error).__name__}: {error}\n")
_run_hidden()
