"""Simulation: what a recorded program would take if something about it were different."""

from __future__ import annotations
