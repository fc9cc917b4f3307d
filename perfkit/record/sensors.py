"""Sensors of the devices, read beside a program: power, energy, clocks, utilisation and memory of NVIDIA GPUs."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from perfkit.model.energy import SensorLog, SensorSample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["NvidiaSensor", "Sampler", "Sensor", "open_sensor"]

PERIOD_S: Final = 0.05
"""Half of what NVML takes to renew its values."""
IDLE_S: Final = 0.5
MOST_SAMPLES: Final = 72_000
"""Of all devices together: an hour of one. The oldest are dropped."""
PART_TIME: Final = ("A100", "H100", "H200", "A800", "H800")
"""Chips whose power is averaged over a quarter of each period only."""
INSTANT_POWER: Final = 186  # NVML_FI_DEV_POWER_INSTANT


class Sensor(Protocol):
    """Something that says what devices take."""

    def read(self) -> list[SensorSample]:
        """Return a sample of each device."""

    def about(self) -> SensorLog:
        """Return a log without samples that says what the sensor can."""

    def close(self) -> None:
        """Let go of it."""


def open_sensor() -> Sensor | str:
    """Return the sensor of this machine, or why there is none."""
    try:
        import pynvml
    except ImportError:
        return "nvidia-ml-py is not installed: run `pip install 'perfkit[record]'`"
    try:
        pynvml.nvmlInit()
        sensor = NvidiaSensor(pynvml)
    except pynvml.NVMLError as error:
        return f"there is no NVIDIA driver here ({error})"
    return sensor if sensor.devices else "there is no NVIDIA GPU here"


class NvidiaSensor:
    """What NVML says. ``library`` is the module ``pynvml``, initialised."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.devices = [library.nvmlDeviceGetHandleByIndex(index) for index in range(library.nvmlDeviceGetCount())]

    def ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        """Return what NVML answers, or None for what this chip does not know."""
        try:
            return question(*arguments)
        except self.library.NVMLError:
            return None

    def read(self) -> list[SensorSample]:
        """Return a sample of each device."""
        return [self.read_device(index, device) for index, device in enumerate(self.devices)]

    def read_device(self, index: int, device: Any) -> SensorSample:
        """Return a sample of one device."""
        nvml = self.library
        used, busy = (
            self.ask(nvml.nvmlDeviceGetMemoryInfo, device),
            self.ask(nvml.nvmlDeviceGetUtilizationRates, device),
        )
        energy = self.ask(nvml.nvmlDeviceGetTotalEnergyConsumption, device)
        clock = self.ask(nvml.nvmlDeviceGetClockInfo, device, nvml.NVML_CLOCK_SM)
        return SensorSample(
            time_ns=time.time_ns(),
            device=index,
            power_mw=self.power(device),
            energy_mj=-1 if energy is None else int(energy),
            clock_mhz=-1 if clock is None else int(clock),
            busy_pct=-1 if busy is None else int(busy.gpu),
            memory_bytes=-1 if used is None else int(used.used),
        )

    def power(self, device: Any) -> int:
        """Return the power of this moment; the plain reading is an average over a second on recent chips."""
        values = self.ask(self.library.nvmlDeviceGetFieldValues, device, [INSTANT_POWER])
        if values and values[0].nvmlReturn == 0:
            return int(values[0].value.uiVal)
        plain = self.ask(self.library.nvmlDeviceGetPowerUsage, device)
        return -1 if plain is None else int(plain)

    def about(self) -> SensorLog:
        """Return a log without samples that says what the sensor can."""
        nvml = self.library
        names = tuple(
            name.decode() if isinstance(name, bytes) else str(name)
            for name in (self.ask(nvml.nvmlDeviceGetName, device) for device in self.devices)
        )
        limits = [self.ask(nvml.nvmlDeviceGetEnforcedPowerLimit, device) or 0 for device in self.devices]
        part_time = any(chip in name for name in names for chip in PART_TIME)
        return SensorLog(names=names, duty=0.25 if part_time else 1.0, most_mw=max(limits, default=0))

    def close(self) -> None:
        """Let go of NVML."""
        self.ask(self.library.nvmlShutdown)


class Sampler:
    """Reads a sensor on a thread of its own, while it is entered; without one it notes why."""

    def __init__(self, sensor: Sensor | str, *, idle: bool = True) -> None:
        self.sensor = sensor
        self.idle = idle
        self.about = SensorLog()
        self.samples: list[SensorSample] = []
        self.idle_until_ns = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, name="perfkit-sensors", daemon=True)

    def __enter__(self) -> Self:
        """Begin; unless the program runs already, wait for what an idle device takes."""
        if isinstance(self.sensor, str):
            return self
        self.thread.start()
        if self.idle:
            time.sleep(IDLE_S)
            self.idle_until_ns = time.time_ns()
        return self

    def __exit__(self, *_: object) -> None:
        if not isinstance(self.sensor, str):
            time.sleep(3 * PERIOD_S)  # the counter says what a window took once it has been renewed after it
            self.ended.set()
            self.thread.join()
            self.about = self.sensor.about()
            self.sensor.close()

    def run(self) -> None:
        """Take samples until it ends."""
        assert not isinstance(self.sensor, str)
        while not self.ended.wait(PERIOD_S):
            self.samples += self.sensor.read()
            if len(self.samples) > MOST_SAMPLES:
                del self.samples[: MOST_SAMPLES // 2]

    def log(self) -> SensorLog:
        """Return what was read; for after it has been left."""
        if isinstance(self.sensor, str):
            return SensorLog(missing=self.sensor)
        stands = longest_stand(self.samples)
        return self.about._replace(
            samples=tuple(self.samples),
            update_ns=max(self.about.update_ns, stands) + round(PERIOD_S * 1e9),
            idle_until_ns=self.idle_until_ns,
        )


def longest_stand(samples: Sequence[SensorSample]) -> int:
    """Return for how long a value stood still at most: how rarely the sensor renews it, or more.

    The value is the counter of energy, and power where there is no counter.
    """
    longest = 0
    for device in {sample.device for sample in samples}:
        mine = [sample for sample in samples if sample.device == device]
        said = [sample.energy_mj if sample.energy_mj >= 0 else sample.power_mw for sample in mine]
        changes = [
            sample.time_ns for sample, before, now in zip(mine[1:], said, said[1:], strict=False) if now != before
        ]
        longest = max(longest, *(later - earlier for earlier, later in pairwise(changes)), 0)
    return longest
