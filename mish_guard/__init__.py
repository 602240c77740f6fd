"""mish-guard: a regression gate for the lowering of mish to Apple's Neural Engine."""

__version__ = "0.1.0"
