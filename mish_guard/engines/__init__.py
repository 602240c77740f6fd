"""Engines: what executes a converted model. They measure nothing and never judge."""
