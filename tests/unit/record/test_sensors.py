"""The sampler, on a simulated sensor in real time, and NVML's answers on a stand-in for the library."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.attribute.energy import measure_energy
from perfkit.model.energy import SensorLog
from perfkit.record.sensors import NvidiaSensor, Sampler
from tests.unit.record.simulated_sensor import Device

if TYPE_CHECKING:
    from perfkit.model.energy import SensorSample


pytestmark = pytest.mark.alone


class RealTime:
    """A simulated device on this machine's clock."""

    def __init__(self) -> None:
        self.device = Device(40, 240, 60_000_000, 0.5, time.time_ns() + 500_000_000)
        self.closed = False

    def read(self) -> list[SensorSample]:
        return [self.device.sample(time.time_ns())]

    def about(self) -> SensorLog:
        assert not self.closed
        return SensorLog(names=("simulated",), most_mw=240_000)

    def close(self) -> None:
        self.closed = True


def test_the_sampler_recovers_known_joules() -> None:
    sensor = RealTime()
    with Sampler(sensor) as sampler:
        start = time.time_ns()
        time.sleep(1.0)
        end = time.time_ns()
    log = sampler.log()
    assert sensor.closed
    assert not sampler.thread.is_alive()
    (energy,) = measure_energy(log, start, end, steps=0)
    assert energy.low_joules <= sensor.device.joules(start, end) <= energy.high_joules
    assert energy.idle_watts == pytest.approx(40, rel=0.05)


def test_without_a_sensor_the_reason_is_kept() -> None:
    with Sampler("there is no NVIDIA GPU here") as sampler:
        pass
    assert sampler.log().missing == "there is no NVIDIA GPU here"
    assert not sampler.log().samples


def test_what_a_chip_does_not_know_is_left_out() -> None:
    class NVMLError(Exception):
        pass

    def unknown(*_: Any) -> None:
        raise NVMLError

    field = SimpleNamespace(nvmlReturn=0, value=SimpleNamespace(uiVal=123_456))
    library = SimpleNamespace(
        NVMLError=NVMLError,
        NVML_CLOCK_SM=1,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(used=7),
        nvmlDeviceGetUtilizationRates=unknown,
        nvmlDeviceGetTotalEnergyConsumption=unknown,
        nvmlDeviceGetClockInfo=lambda *_: 1410,
        nvmlDeviceGetFieldValues=lambda *_: [field],
        nvmlDeviceGetName=lambda _: "NVIDIA H100 80GB HBM3",
        nvmlDeviceGetEnforcedPowerLimit=lambda _: 700_000,
        nvmlShutdown=lambda: None,
    )
    sensor = NvidiaSensor(library)
    (sample,) = sensor.read()
    assert (sample.power_mw, sample.energy_mj, sample.clock_mhz, sample.busy_pct, sample.memory_bytes) == (
        123_456,
        -1,
        1410,
        -1,
        7,
    )
    assert (sensor.about().duty, sensor.about().most_mw) == (0.25, 700_000)
