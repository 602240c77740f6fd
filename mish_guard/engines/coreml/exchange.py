"""The files by which a worker and whoever asked it speak, in a folder of their own."""

from __future__ import annotations

REQUEST, INPUTS, OUTPUTS, ANSWER, STAGE = "request.json", "inputs.npz", "outputs.npz", "answer.json", "stage"

# Before Core ML has a word: Python's time, not Core ML's.
STARTING, IMPORTING = "starting", "importing coremltools"

# The stages in which what fails is a word of Core ML on the model.
LOADING, PREDICTING = "loading the model", "predicting"

# Where the worker's own temporary files go, compiled models among them, so that they end with the folder.
TEMPORARY = "temporary"
# The path of the compiled model, should Core ML put it elsewhere.
COMPILED = "compiled"
STDERR = "stderr"

# The guardian kills the worker at its timeout; should the guardian be gone, an alarm does, so many seconds later.
ORPHAN_SECONDS = 30
