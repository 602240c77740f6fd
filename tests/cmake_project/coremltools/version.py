__version__ = "9.0"
