"""Runs and baselines as files."""
