"""Small real programs, each with one planted fault and beside it a twin without; plain torch, no downloads."""

from __future__ import annotations

from typing import Final

from benchmarks.programs.attention_written_out import ATTENTION_WRITTEN_OUT
from benchmarks.programs.augment_in_loop import AUGMENT_IN_LOOP
from benchmarks.programs.boolean_indexing import BOOLEAN_INDEXING
from benchmarks.programs.casts_each_call import CASTS_EACH_CALL
from benchmarks.programs.field_by_field import FIELD_BY_FIELD
from benchmarks.programs.item_per_sample import ITEM_PER_SAMPLE
from benchmarks.programs.loading import LOADER_IN_PROCESS, RESTARTED_WORKERS, STARVED_WORKERS
from benchmarks.programs.norm_written_out import NORM_WRITTEN_OUT
from benchmarks.programs.pair import ROLES, Pair
from benchmarks.programs.python_bookkeeping import PYTHON_BOOKKEEPING
from benchmarks.programs.request_at_a_time import REQUEST_AT_A_TIME
from benchmarks.programs.small_batches import SMALL_BATCHES
from benchmarks.programs.unfolded_batch_norm import UNFOLDED_BATCH_NORM
from benchmarks.programs.unfused_optimizer import UNFUSED_OPTIMIZER

__all__ = ["PROGRAMS", "ROLES", "Pair"]

PROGRAMS: Final[tuple[Pair, ...]] = (
    LOADER_IN_PROCESS,
    STARVED_WORKERS,
    RESTARTED_WORKERS,
    AUGMENT_IN_LOOP,
    ITEM_PER_SAMPLE,
    BOOLEAN_INDEXING,
    PYTHON_BOOKKEEPING,
    FIELD_BY_FIELD,
    UNFUSED_OPTIMIZER,
    NORM_WRITTEN_OUT,
    ATTENTION_WRITTEN_OUT,
    CASTS_EACH_CALL,
    UNFOLDED_BATCH_NORM,
    SMALL_BATCHES,
    REQUEST_AT_A_TIME,
)
"""In the order of what is told: loading, waiting, Python, small operators, unfused ones, batches."""
