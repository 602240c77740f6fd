"""A user's own model: which of its operations are at risk on a Neural Engine, by which evidence, and what to do.

`view` lists the operations of a saved model, `ranges` says what their results can be, `rules` finds the risks without
running anything, `trial` runs the model under every profile beside float64. Nothing here prints.
"""
