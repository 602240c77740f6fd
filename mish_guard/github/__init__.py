"""What GitHub is told: step summaries, annotations, outputs, one comment, one check.

`python3 ci/github.py COMMAND`. Only the standard library is used, so that the jobs which write to GitHub install
nothing. What another job left is read as `numbers`: counts and names of fixed forms; no other word of it is repeated
where a token can write. GitHub decides nothing by what is told here, only by exit codes.
"""
