"""The commands, one module each: they put the parts together, print, and return the exit code."""
