"""Volumes, slices, prompts, masks and metrics: pure functions on arrays."""
