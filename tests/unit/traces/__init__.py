"""Tests of the sample traces and of their recorder."""
