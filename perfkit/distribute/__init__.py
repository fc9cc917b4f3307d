"""Runs one function over many inputs, in processes here or on a Ray cluster, and keeps what it gave for next time."""
