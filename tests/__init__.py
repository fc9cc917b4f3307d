"""Tests: unit by stage, golden outputs, kernels, integration."""
