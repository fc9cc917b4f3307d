"""The sentence to read first about a service under load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.model.quantity import duration, percent

if TYPE_CHECKING:
    from perfkit.model.load import Load

__all__ = ["say"]

WORDS: Final = {
    "sending": "waiting to be sent",
    "queueing": "queueing",
    "host_preparation": "being prepared on the host",
    "device": "being computed",
    "device_wait": "waiting for the device",
    "response": "being answered",
}


def say(load: Load) -> str:
    """Say in a sentence or two how a service does under load."""
    stretch, latency = load.stretch, load.stretch.latency
    rate = f"{stretch.asked_per_s:g} requests/s"
    if stretch.late:
        return (
            f"This machine could send {stretch.achieved_per_s:.0f} of the {stretch.asked_per_s:g} requests/s asked "
            f"for, and late (P99 {duration(stretch.lateness.p99_ns)}): the times below are of that, not of the service."
        )
    said = f"At {rate} P99 is {duration(latency.p99_ns)}"
    if not latency.number:
        return f"At {rate} no request was answered well: {next(iter(stretch.errors), 'none was sent')}."
    if load.split is not None and load.split.tail_ns:
        tail = load.split.tail_ns
        part = max(tail, key=lambda name: tail[name])
        share = percent(tail[part], sum(tail.values()), digits=0)
        said += f"; slow requests spend {share} of their time {WORDS[part]}"
    if stretch.errors:
        said += f"; {percent(sum(stretch.errors.values()), stretch.sent)} failed"
    if load.capacity is not None:
        said += f". It holds {load.capacity.objective} up to {load.capacity.holds_per_s:.3g} requests/s"
    return f"{said}."
