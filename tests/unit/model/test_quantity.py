from __future__ import annotations

import pytest

from perfkit.model.quantity import count, duration, percent, rate, size


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (1, "1 ns"),
        (999, "999 ns"),
        (999.4, "999 ns"),
        (999.6, "1.00 us"),
        (1_000, "1.00 us"),
        (9_994, "9.99 us"),
        (9_996, "10.0 us"),
        (99_960, "100 us"),
        (999_400, "999 us"),
        (999_600, "1.00 ms"),
        (1_500_000, "1.50 ms"),
        (175_500_000, "176 ms"),
        (2_000_000_000, "2.00 s"),
        (86_400_000_000_000, "86,400 s"),
    ],
)
def test_duration_has_three_digits_and_a_unit_that_fits(ns: float, text: str) -> None:
    assert duration(ns) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 100, "0 %"),
        (1, 0, "0 %"),
        (1, 100_000, "<0.1 %"),
        (323, 1000, "32.3 %"),
        (99_999, 100_000, "99.9 %"),
        (100, 100, "100.0 %"),
    ],
)
def test_only_nothing_is_zero_and_only_all_is_a_hundred_percent(part: int, whole: int, text: str) -> None:
    assert percent(part, whole) == text


def test_percent_without_decimals() -> None:
    assert percent(0.326, digits=0) == "33 %"
    assert percent(0.999, digits=0) == "99 %"
    assert percent(0.001, digits=0) == "<1 %"


def test_sizes_and_rates() -> None:
    assert size(512) == "512 B"
    assert size(4_190_000) == "4.19 MB"
    assert rate(12.4e9) == "12.4 GB/s"


def test_count_knows_singular_and_plural() -> None:
    assert [count(n, "gap") for n in (0, 1, 1234)] == ["0 gaps", "1 gap", "1,234 gaps"]
    assert count(2, "activity", "activities") == "2 activities"
