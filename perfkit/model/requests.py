"""Requests of a service as a trace knows them: what each of them spent its time on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.model.table import Table

__all__ = ["REQUEST_PARTS", "RequestTime", "RequestTimes", "Work"]

REQUEST_PARTS: Final = ("queueing", "host_preparation", "device", "device_wait", "response")
"""What a request spends its time on, in the order of its life.

Before and between the work on it; work on the host; work of the device, or operators where there is none; work given to
a device that is not done yet; and from the end of the work to the end of the answer.
"""


class Work(NamedTuple):
    """Work that was done at once, and for which requests; work on a device lasts until that is done."""

    start_ns: int
    took_ns: int
    of: tuple[str, ...]


class RequestTime(NamedTuple):
    """One marked request.

    Attributes:
        id: What the mark calls it; empty for a mark without a name.
        start_ns: When the service took it up, on the trace's clock.
        end_ns: When the last of the answer was handed over.
        parts: Time by REQUEST_PARTS, which sum to ``end_ns - start_ns``; empty where no work could be linked to it.
        batches: The work done on it, with the requests that it was done for.
    """

    id: str
    start_ns: int
    end_ns: int
    parts: Mapping[str, int]
    batches: tuple[Work, ...]


class RequestTimes(NamedTuple):
    """The marked requests of a trace, by start; ``start_ns`` and ``end_ns`` are its first and last event.

    A mark that ends with the last event may be of a request that went on. ``linked`` says how work was linked to them:
    ``marks`` (exactly), ``order`` (all of it runs on one thread, so it is for the request that is answered next),
    ``alone`` (for the only one that was open), or ``none``.
    """

    requests: Table[RequestTime]
    linked: str
    start_ns: int
    end_ns: int
