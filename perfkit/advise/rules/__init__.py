"""The rules, one a file, in order of their codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.rules import (
    pk101_loader_starves_device,
    pk102_exposed_copies,
    pk201_sync_in_step_loop,
    pk202_allocation_in_steady_state,
    pk301_launch_bound,
    pk302_compilation_in_window,
    pk303_initialization_in_window,
    pk304_python_between_launches,
    pk305_host_compute,
    pk306_gaps_between_queued_kernels,
    pk307_waits_in_system,
    pk601_exposed_communication,
    pk602_late_rank,
    pk901_unattributed_time,
    pk902_profiler_overhead,
)

if TYPE_CHECKING:
    from perfkit.advise.rule import Rule

__all__ = ["RULES"]

RULES: Final[tuple[Rule, ...]] = (
    pk101_loader_starves_device.RULE,
    pk102_exposed_copies.RULE,
    pk201_sync_in_step_loop.RULE,
    pk202_allocation_in_steady_state.RULE,
    pk301_launch_bound.RULE,
    pk302_compilation_in_window.RULE,
    pk303_initialization_in_window.RULE,
    pk304_python_between_launches.RULE,
    pk305_host_compute.RULE,
    pk306_gaps_between_queued_kernels.RULE,
    pk307_waits_in_system.RULE,
    pk601_exposed_communication.RULE,
    pk602_late_rank.RULE,
    pk901_unattributed_time.RULE,
    pk902_profiler_overhead.RULE,
)
