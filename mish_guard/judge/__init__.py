"""The verdict: pure functions of figures, baselines and ceilings."""
