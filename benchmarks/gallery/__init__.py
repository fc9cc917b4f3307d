"""Scores perfkit on programs whose fault is known: `make gallery`."""
