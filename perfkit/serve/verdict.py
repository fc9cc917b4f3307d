"""The sentence to read first about a service under load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.model.quantity import duration, percent

if TYPE_CHECKING:
    from perfkit.model.load import Load, Stretch

__all__ = ["say", "too_fast"]

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
    said = f"At {rate} P99 is {duration(latency.p99_ns)}"
    if stretch.unsendable:
        said = (
            f"This machine cannot send {rate}: it sent {stretch.achieved_per_s:.0f}, and most of their time (P50 "
            f"{duration(latency.p50_ns)}) is waiting to be sent; give a lower --rate, or send from several machines"
        )
    elif stretch.stopped:
        said = f"At {rate} {stretch.stopped}, and P99 is {duration(latency.p99_ns)}"
    if not latency.number:
        return f"At {rate} no request was answered well: {next(iter(stretch.errors), 'none was sent')}."
    if load.split is not None and load.split.tail_ns and not stretch.unsendable:
        tail = load.split.tail_ns
        part = max(tail, key=lambda name: tail[name])
        share = percent(tail[part], sum(tail.values()), digits=0)
        said += f"; slow requests spend {share} of their time {WORDS[part]}"
    if stretch.errors:
        said += f"; {percent(sum(stretch.errors.values()), stretch.sent)} failed"
    if load.capacity is not None:
        said += f". It holds {load.capacity.objective} up to {load.capacity.holds_per_s:.3g} requests/s"
    return f"{said}."


def too_fast(stretch: Stretch) -> str:
    """Say that this machine could not send as fast as it was to, so that its own delays would be measured."""
    return (
        f"this machine sent {stretch.achieved_per_s:.0f} of the {stretch.asked_per_s:g} requests/s asked for, late by "
        f"{duration(stretch.lateness.p50_ns)} (median), which would be measured and not the service: give a lower "
        f"--rate, or run perfkit where more of a processor is free"
    )
