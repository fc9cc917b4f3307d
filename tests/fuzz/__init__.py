"""Fuzzing of the scanner, its twin, and the diagnosis of what they read: `python -m tests.fuzz`."""
