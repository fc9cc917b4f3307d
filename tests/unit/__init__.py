"""Unit tests, one folder a stage."""
