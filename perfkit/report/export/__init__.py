"""Writes a Picture in the formats of other viewers: Perfetto, speedscope, pprof."""
