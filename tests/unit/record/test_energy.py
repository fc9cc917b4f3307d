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
    update_ns = chance.choice([20_000_000, 100_000_000, 250_000_000, SECOND])
    device = Device(
        idle=idle,
        busy=idle + chance.uniform(50, 600),
        period_ns=chance.choice([7_000_000, 35_000_000, 100_000_000, 230_000_000, 900_000_000]),
        part=chance.uniform(0.1, 0.95),
        begins_ns=SECOND,
        update_ns=update_ns,
        duty=chance.choice([0.25, 0.5, 1.0]),
        phase_ns=chance.randrange(update_ns),
        counts=counts,
    )
    start = chance.randrange(SECOND, 2 * SECOND)
    end = start + chance.choice([SECOND // 5, SECOND, 4 * SECOND])
    log = device.log(
        end + update_ns + SECOND // 2, chance.choice([20_000_000, 50_000_000]), chance.randrange(10_000_000)
    )
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
        end, unknown_s = start + 30 * SECOND, (device.update_ns + 50_000_000) / SECOND
        (energy,) = measure_energy(device.log(end + 2 * SECOND, 50_000_000), start, end, steps=0)
        # Each end is unknown by what the device can take in one period, and in the time between two readings.
        assert energy.high_joules - energy.low_joules <= 2 * 2 * unknown_s * device.busy
        assert abs(energy.joules - device.joules(start, end)) <= unknown_s * device.busy


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("update_ns", [20_000_000, 100_000_000, 250_000_000, SECOND])
def test_how_rarely_a_sensor_is_renewed_is_seen_from_its_values(update_ns: int, counts: bool) -> None:
    """The sampler does not know; it takes what its own samples say, and a reading's time more."""
    from perfkit.record.sensors import Sampler

    device = Device(60, 400, 370_000_000, 0.4, SECOND, update_ns=update_ns, counts=counts)
    log = device.log(9 * SECOND, 50_000_000)
    sampler = Sampler("")
    sampler.sensor, sampler.samples, sampler.about = object(), list(log.samples), log._replace(update_ns=0)  # type: ignore[assignment]
    assert sampler.log().update_ns >= update_ns
    assert not counts or sampler.log().update_ns <= update_ns + 150_000_000  # steady power looks like a rare renewal
    (energy,) = measure_energy(sampler.log(), 2 * SECOND, 7 * SECOND, steps=0)
    assert energy.low_joules <= device.joules(2 * SECOND, 7 * SECOND) <= energy.high_joules


def test_a_counter_that_begins_again_is_not_subtracted() -> None:
    device = Device(50, 300, SECOND, 0.5, SECOND, full_mj=1_500_000)  # it does after some 8 s
    start, end = 2 * SECOND, 12 * SECOND
    (energy,) = measure_energy(device.log(14 * SECOND, 50_000_000), start, end, steps=0)
    assert energy.method == "power"
    assert energy.low_joules <= device.joules(start, end) <= energy.high_joules
    silent = device.log(14 * SECOND, 50_000_000)
    silent = silent._replace(samples=tuple(sample._replace(power_mw=-1) for sample in silent.samples))
    assert measure_energy(silent, start, end, steps=0) == ()


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
    assert "500 g/kWh, year and source not given" in carbon(energies, Carbon(500.0))
    for part in ("SCI (ISO/IEC 21031)", "PUE 1.2", "500 g/kWh, 2024, a source", "M = 0", "g CO2e a step"):
        assert part in said
