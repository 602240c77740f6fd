"""Reports: a judgement in the form that a reader wants. They decide nothing."""
