"""Joules from a sensor whose truth is known: the truth is within the interval, which is no wider than said."""

from __future__ import annotations

import random

import pytest

from perfkit.attribute.energy import measure_energy
from perfkit.model.energy import Carbon, SensorLog
from perfkit.report.energy import carbon, carbon_grams
from tests.unit.record.simulated_sensor import SECOND, Device

CASES = range(60)


def drawn(chance: random.Random, *, counts: bool) -> tuple[Device, int, int, SensorLog]:
    """A device, a window, and what a reader wrote down."""
    idle = chance.uniform(20, 90)
    device = Device(
        idle=idle,
        busy=idle + chance.uniform(50, 600),
        period_ns=chance.choice([7_000_000, 35_000_000, 100_000_000, 230_000_000, 900_000_000]),
        part=chance.uniform(0.1, 0.95),
        begins_ns=SECOND,
        duty=chance.choice([0.25, 1.0]),
        phase_ns=chance.randrange(100_000_000),
        counts=counts,
    )
    start = chance.randrange(SECOND, 2 * SECOND)
    end = start + chance.choice([SECOND // 5, SECOND, 4 * SECOND])
    log = device.log(end + SECOND // 2, chance.choice([20_000_000, 50_000_000]), chance.randrange(10_000_000))
    return device, start, end, log


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("counts", [True, False])
def test_the_true_joules_are_within_the_interval(case: int, counts: bool) -> None:
    device, start, end, log = drawn(random.Random(case), counts=counts)
    (energy,) = measure_energy(log, start, end, steps=10)
    true = device.joules(start, end)
    assert energy.method == ("counter" if counts else "power")
    assert energy.low_joules <= energy.joules <= energy.high_joules
    assert energy.low_joules - 0.002 <= true <= energy.high_joules + 0.002  # the counter has whole millijoules
    assert energy.idle_watts == pytest.approx(device.idle, rel=0.01)


def test_the_counter_resolves_a_long_window() -> None:
    for case in CASES:
        device, start, _, _ = drawn(random.Random(case), counts=True)
        end = start + 30 * SECOND
        (energy,) = measure_energy(device.log(end + SECOND // 2, 50_000_000), start, end, steps=0)
        assert energy.joules == pytest.approx(device.joules(start, end), rel=0.02)
        # Each end is unknown by what the device can take in one period, and in the time between two readings.
        assert energy.high_joules - energy.low_joules <= 2 * 0.2 * device.busy


def test_steady_power_needs_no_counter() -> None:
    device = Device(50, 300, SECOND, 0.999999999, SECOND, duty=1.0, counts=False)
    (energy,) = measure_energy(device.log(8 * SECOND, 50_000_000), 2 * SECOND, 6 * SECOND, steps=4)
    assert energy.joules == pytest.approx(1200, rel=0.01)
    assert energy.idle_joules == pytest.approx(200, rel=0.01)


def test_a_window_that_was_not_read_to_its_ends_has_no_energy() -> None:
    device = Device(50, 300, SECOND, 0.5, SECOND)
    log = device.log(4 * SECOND, 50_000_000, first_ns=SECOND)
    assert measure_energy(log, SECOND // 2, 2 * SECOND, 1) == ()
    assert measure_energy(log, 2 * SECOND, 5 * SECOND, 1) == ()
    assert measure_energy(SensorLog(), 0, SECOND, 1) == ()


def test_carbon_is_energy_times_intensity() -> None:
    device = Device(100, 100.0001, SECOND, 0.5, SECOND)
    energies = measure_energy(device.log(50 * SECOND, 50_000_000), SECOND * 2, SECOND * 38, steps=36)
    asked = Carbon(500.0, 2024, "a source", pue=1.2)
    grams, low, high = carbon_grams(energies, asked)
    assert grams == pytest.approx(100 / 3.6e6 * 500 * 1.2, rel=0.01)  # 100 J a step
    assert low < grams < high
    said = carbon(energies, asked)
    for part in ("SCI (ISO/IEC 21031)", "PUE 1.2", "500 g/kWh, 2024, a source", "M = 0", "g CO2e a step"):
        assert part in said
