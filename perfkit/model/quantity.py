"""Quantities as people read them: three significant digits, and a unit that fits the size; clauses as sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["count", "duration", "median", "percent", "rate", "sentence", "size"]

_TIMES = ((1, "ns"), (1_000, "us"), (1_000_000, "ms"), (1_000_000_000, "s"))
_SIZES = ((1, "B"), (1_000, "kB"), (1_000_000, "MB"), (1_000_000_000, "GB"), (1_000_000_000_000, "TB"))


def duration(ns: float) -> str:
    """Return nanoseconds as ``850 ns``, ``12.3 us``, ``1.50 ms`` or ``2.00 s``."""
    return _scaled(ns, _TIMES)


def size(byte_count: float) -> str:
    """Return a number of bytes as ``512 B``, ``4.19 MB``, in powers of 1000."""
    return _scaled(byte_count, _SIZES)


def rate(bytes_per_s: float) -> str:
    """Return a data rate as ``12.4 GB/s``."""
    return f"{size(bytes_per_s)}/s"


def percent(part: float, whole: float = 1.0, *, digits: int = 1) -> str:
    """Return the share of ``part`` in ``whole`` as ``32.3 %``; only all is 100 %, and only nothing is 0 %."""
    if part <= 0 or whole <= 0:
        return "0 %"
    value, step = 100 * part / whole, 10.0**-digits
    if value < step / 2:
        return f"<{step:.{digits}f} %"
    if part < whole:
        value = min(value, 100 - step)
    return f"{value:.{digits}f} %"


def count(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 gap`` or ``1,234 gaps``; ``plural`` is for nouns that do not just take an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def sentence(clause: str) -> str:
    """Return a clause with a capital and a full stop."""
    return f"{clause[:1].upper()}{clause[1:]}."


def _scaled(value: float, units: tuple[tuple[int, str], ...]) -> str:
    """Divide by the largest unit that leaves at least one, counting what three digits round up to."""
    scale, unit = units[0]
    for larger, name in units[1:]:
        if abs(value) >= 0.9995 * larger:
            scale, unit = larger, name
    scaled = value / scale
    if scale == 1 or abs(scaled) >= 99.95:  # noqa: PLR2004  from here on three digits need no decimal
        return f"{scaled:,.0f} {unit}"
    return f"{scaled:.{2 if abs(scaled) < 9.995 else 1}f} {unit}"  # noqa: PLR2004  two decimals make three digits


def median(values: Iterable[float]) -> float:
    """Return the median of at least one number; to import `statistics` takes longer than to advise on a small trace."""
    found = sorted(values)
    return (found[(len(found) - 1) // 2] + found[len(found) // 2]) / 2
