"""Energy and carbon in words, with what they cover and what they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perfkit.model.diagnosis import Diagnosis
    from perfkit.model.energy import Carbon, Energy

__all__ = ["build", "carbon_grams", "sentences"]


def sentences(diagnosis: Diagnosis) -> list[str]:
    """Say what each device took, or why that is not known."""
    if diagnosis.energy:
        said = [described(energy) for energy in diagnosis.energy]
        return [*said, *([carbon(diagnosis.energy, diagnosis.carbon)] if diagnosis.carbon else [])]
    if diagnosis.recording is None:
        return ["not measured: no sensor was read beside this trace"] if diagnosis.carbon else []
    missing = diagnosis.recording.sensors.missing or "the sensor was not read before and after the window"
    return [f"not measured: {missing}"]


def described(energy: Energy) -> str:
    """Describe the energy of one device."""
    unit = f" a step ({energy.steps} steps)" if energy.steps else ""
    parts = max(energy.steps, 1)
    low, high = energy.low_joules / parts, energy.high_joules / parts
    text = f"GPU {energy.device}, {energy.name}: {energy.joules / parts:.3g} J{unit}, between {low:.3g} and {high:.3g}"
    idle = energy.idle_joules
    if idle is not None:
        text += f"; idle it would have taken {idle / parts:.3g} J of that, at {energy.idle_watts:.3g} W"
    means = "by its energy counter" if energy.method == "counter" else "by samples of its power"
    text += f" ({means}, over {energy.window_ns / 1e9:.3g} s; the interval is what the sensor cannot resolve)"
    if energy.high_joules - energy.low_joules > energy.joules:
        text += ". The window is too short for this sensor: record more steps"
    return text


def carbon_grams(energies: tuple[Energy, ...], asked: Carbon) -> tuple[float, float, float]:
    """Return grams of CO2e of a step (of the window where there are no steps), with the ends of its interval."""
    scale = asked.grams_per_kwh * asked.pue / 3.6e6 / max(energies[0].steps, 1)
    return (
        scale * sum(energy.joules for energy in energies),
        scale * sum(energy.low_joules for energy in energies),
        scale * sum(energy.high_joules for energy in energies),
    )


def carbon(energies: tuple[Energy, ...], asked: Carbon) -> str:
    """Say what that is as a score of software carbon intensity."""
    grams, low, high = carbon_grams(energies, asked)
    unit = "step" if energies[0].steps else "window"
    origin = f"{asked.year}, {asked.source}" if asked.source else "year and source not given"
    return (
        f"SCI (ISO/IEC 21031): {grams:.3g} g CO2e a {unit}, between {low:.3g} and {high:.3g}. Boundary: the GPUs "
        f"alone, in use; not the host, and nothing embodied (M = 0). PUE {asked.pue:g}; "
        f"grid {asked.grams_per_kwh:g} g/kWh, {origin}"
    )


def build(diagnosis: Diagnosis) -> dict[str, object]:
    """Return energy and carbon as JSON has them."""
    asked = diagnosis.carbon
    grams = list(carbon_grams(diagnosis.energy, asked)) if asked and diagnosis.energy else None
    return {
        "devices": [energy._asdict() | {"idle_joules": energy.idle_joules} for energy in diagnosis.energy],
        "missing": "" if diagnosis.energy else " ".join(sentences(diagnosis)),
        "carbon": asked and {**asked._asdict(), "grams": grams},
    }
