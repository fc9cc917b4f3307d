"""Runs tasks on a Ray cluster, or on a Ray of this machine's own."""

from __future__ import annotations

import re
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from perfkit.distribute.outcome import Lost, Outcome, describe
from perfkit.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

__all__ = ["LOCAL", "on_ray"]

Task = TypeVar("Task")
Result = TypeVar("Result")

LOCAL: Final = "local"
"""Instead of an address: a Ray that is started here, and ended again."""

_PLACE: Final = re.compile(r"(?:ray://)?\[?([^/]+?)\]?:(\d+)")
_PATIENCE_S: Final = 5
_AHEAD: Final = 2
_TRIES: Final = 1
"""How often a task whose process died is tried again; one that lacked memory, Ray tries again by rules of its own."""


def on_ray(
    function: Callable[[Task], Result], tasks: Sequence[Task], address: str, jobs: int | None = None
) -> Generator[Outcome[Result], None, None]:
    """Call a function for each task and yield what it returns, in the order in which tasks are done.

    Args:
        function: A function of a module that the workers can import; the tasks and the results are pickled.
        tasks: Its arguments.
        address: ``host:port``, ``ray://host:port``, ``auto`` for the cluster that this machine belongs to, or LOCAL.
        jobs: Most tasks at once; None for one on each processor of the cluster.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: No cluster answers at the address.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("--ray", "fleet") from error

    with _connected(ray, address, jobs):
        remote = ray.remote(num_cpus=1, max_retries=_TRIES)(function)
        window = _AHEAD * (jobs or max(int(ray.cluster_resources().get("CPU", 1)), 1))
        running: dict[Any, int] = {}
        left = iter(range(len(tasks)))
        try:
            while True:
                for place in left:
                    running[remote.remote(tasks[place])] = place
                    if len(running) >= window:
                        break
                if not running:
                    return
                done, _ = ray.wait(list(running), num_returns=1)
                for reference in done:
                    yield Outcome(running.pop(reference), _result_of(ray, reference))
        finally:
            for reference in running:
                ray.cancel(reference, force=True)


def _result_of(ray: Any, reference: Any) -> Any:
    """Return what the function returned, or what became of it."""
    try:
        return ray.get(reference)
    except ray.exceptions.OutOfMemoryError:
        return Lost("the process that read it was ended by Ray: out of memory")
    except ray.exceptions.RayTaskError as error:
        cause = error.cause if isinstance(error.cause, BaseException) else error
        if isinstance(cause, ModuleNotFoundError):
            return Lost(f"{cause}: install the same perfkit on the workers of the cluster")
        return Lost(describe(cause))
    except ray.exceptions.RayError as error:
        return Lost(f"the process that read it died: {describe(error)}")


def _knock(address: str) -> None:
    """See whether anybody listens at ``host:port``: Ray itself tries for minutes.

    Raises:
        UsageError: Nobody does.
    """
    place = _PLACE.fullmatch(address)
    if place is None:
        return
    try:
        socket.create_connection((place[1], int(place[2])), _PATIENCE_S).close()
    except (OSError, OverflowError) as error:
        message = f"no Ray cluster answers at {address}: {getattr(error, 'strerror', None) or error}"
        raise UsageError(message) from error


@contextmanager
def _connected(ray: Any, address: str, jobs: int | None) -> Generator[None, None, None]:
    """Connect to a cluster, and leave it as it was; a connection that the caller made is used and kept."""
    if ray.is_initialized():
        yield
        return
    import logging

    _knock(address)
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == LOCAL:
        quiet |= {"include_dashboard": False, "num_cpus": jobs}
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        message = f"no Ray cluster answers at {address}: {describe(error)}"
        raise UsageError(message) from error
    try:
        yield
    finally:
        ray.shutdown()
