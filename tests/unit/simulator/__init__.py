"""The simulator and the slow attribution, each held against the other and against cases worked out by hand."""
