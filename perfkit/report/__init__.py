"""Draws a Diagnosis for a terminal, as Markdown, as JSON. It computes nothing, and takes every name for hostile."""
