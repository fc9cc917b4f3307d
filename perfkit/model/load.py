"""The Load: what a service was asked for, how it answered, and what follows for its capacity. Times are integer ns."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.model.table import Table

__all__ = [
    "Capacity",
    "CapacityStep",
    "Load",
    "Objective",
    "Quantiles",
    "RequestSplit",
    "ServiceTime",
    "Stretch",
    "Tally",
    "Tokens",
]

NO_ERRORS: Final[Mapping[str, int]] = MappingProxyType({})


class Quantiles(NamedTuple):
    """Times of many events; ``histogram`` is an HdrHistogram in its own base-64 text, in ns with 3 digits."""

    number: int
    p50_ns: int
    p90_ns: int
    p99_ns: int
    max_ns: int
    mean_ns: float
    histogram: str


class Stretch(NamedTuple):
    """Load of one rate for some time.

    Attributes:
        asked_per_s: Requests a second that were asked for.
        achieved_per_s: Those that this machine did send.
        seconds: From the first intended moment to the last.
        planned: Requests that there were to be.
        sent: Requests that were sent.
        answered: Requests that were answered well.
        errors: Requests that were not, by what went wrong.
        latency: From the intended moment of sending to the end of the answer, of those answered well.
        lateness: From the intended moment to the actual one: the load generator's own delay.
        late: The load generator, not the service, held the rate up.
        stopped: Why it ended early; empty if it did not.
        unsendable: The rate is more than this machine can send, whatever the service does, and most of the median
            latency is waiting to be sent.
    """

    asked_per_s: float
    achieved_per_s: float
    seconds: float
    planned: int
    sent: int
    answered: int
    errors: Mapping[str, int]
    latency: Quantiles
    lateness: Quantiles
    late: bool
    stopped: str = ""
    unsendable: bool = False


class Tally(NamedTuple):
    """Requests that are counted, and no more; ``errors`` are those not answered well, by what went wrong."""

    sent: int
    answered: int
    errors: Mapping[str, int]


class Tokens(NamedTuple):
    """A streamed answer of a language model.

    ``first`` is the time from the intended sending to the first token (TTFT), ``between`` that between two pieces of
    the stream (ITL), ``per_token`` the mean over an answer of the time per token after the first (TPOT). ``counted`` is
    ``usage`` where the service said how many tokens there were, ``pieces`` where each piece is taken for one.
    """

    first: Quantiles
    between: Quantiles
    per_token: Quantiles
    tokens: int
    per_s: float
    counted: str


class RequestSplit(NamedTuple):
    """Where the time of the requests goes that were under way while the service was traced.

    Attributes:
        seconds: For how long all traces were being recorded.
        sent: Our requests that were under way in that time: ``marked``, ``edge`` and ``lost`` sum to it.
        marked: Those that a trace has whole.
        edge: Those that were under way when it began or ended, and so are not whole in it.
        lost: Names of those that were not, and that no trace has.
        others: Marks of requests that were not ours.
        processes: How many processes were traced.
        elsewhere: Other processes that hold the socket of the port, and were not.
        split: Requests of which the parts are known.
        mean_ns: Mean time by part, over those: ``sending`` (late at the generator), ``queueing``, and so on.
        tail_ns: The same over the slowest tenth of them.
        latency: Of all that were answered well, to see what the tracing cost.
        linked: How work was linked to requests, as in `RequestTimes`.
        errors: Those of ``sent`` that were not answered well, by what went wrong.
        unlinked: Those of ``marked`` that were answered well, and to which no work could be linked. What is neither
            these nor ``split`` failed.
    """

    seconds: float
    sent: int
    marked: int
    edge: int
    lost: tuple[str, ...]
    others: int
    processes: int
    elsewhere: int
    split: int
    mean_ns: Mapping[str, float]
    tail_ns: Mapping[str, float]
    latency: Quantiles
    linked: str
    errors: Mapping[str, int] = NO_ERRORS
    unlinked: int = 0


class ServiceTime(NamedTuple):
    """Service time of n items together, S(n) = a + b*n, with 95 % intervals from resampling.

    Attributes:
        fixed_ns: a, with its interval; None where all batches were of one size.
        each_ns: b, with its interval; None where all batches were of one size.
        headroom: (a + b) / b, how many times as many items a second large batches would allow, with its interval.
        sizes: For each size of batch seen: how many, and the median time.
        source: ``marks``, ``order`` or ``alone`` (work in the trace, as in `RequestTimes`), or ``client``.
    """

    fixed_ns: tuple[float, float, float] | None
    each_ns: tuple[float, float, float] | None
    headroom: tuple[float, float, float] | None
    sizes: Mapping[int, tuple[int, int]]
    source: str


class Objective(NamedTuple):
    """A service level objective: this quantile (0 to 1) of the latency is to be at most that."""

    quantile: float
    limit_ns: int

    def __str__(self) -> str:
        """Return it as it is written on the command line."""
        return f"p{100 * self.quantile:g}={self.limit_ns / 1e6:g}ms"


class CapacityStep(NamedTuple):
    """One rate that was tried: ``quantile_ns`` is the objective's quantile, ``broke`` what broke it, or empty."""

    load: Stretch
    quantile_ns: int
    broke: str


class Capacity(NamedTuple):
    """How much a service can do.

    Attributes:
        objective: What is to hold.
        steps: The rates that were tried, in order.
        holds_per_s: The highest rate at which it held; 0 for none.
        breaks_per_s: The lowest rate above it at which it broke; None where none did.
        first: What broke first, in a few words.
    """

    objective: Objective
    steps: Table[CapacityStep]
    holds_per_s: float
    breaks_per_s: float | None
    first: str


class Load(NamedTuple):
    """What was asked of a service, and how it answered.

    Attributes:
        url: Where the requests went, without user and password.
        arrivals: ``poisson`` or ``constant``.
        stretch: The load without any profiler.
        tokens: What is to be said of streamed answers.
        traced_by: How the trace was made; empty if there is none.
        split: Where the time of requests goes; None without marks in a trace.
        service: Service time by size of batch.
        capacity: What stepping the rate found.
        notes: What else to know, a sentence each.
        warm_up: The requests before the load.
        around: Requests sent for the trace that ``split`` does not count: it was being set up or written, or there is
            no split.
    """

    url: str
    arrivals: str
    stretch: Stretch
    tokens: Tokens | None = None
    traced_by: str = ""
    split: RequestSplit | None = None
    service: ServiceTime | None = None
    capacity: Capacity | None = None
    notes: tuple[str, ...] = ()
    warm_up: Tally | None = None
    around: Tally | None = None
