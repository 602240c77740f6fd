"""Half precision, the reference, the ceiling, and the figures of an error. Numbers in, numbers out."""
