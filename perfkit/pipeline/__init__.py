"""Composition only: what the command line and the library do, as sequences of stages."""
