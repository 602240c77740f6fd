"""GitHub as folders: repositories, events and artifacts, and the real workflow files executed by act.

What act does not model is not tested here: permissions, environments, concurrency, approvals, and what a fork's token
may do. See docs/workflows.md.
"""
