"""Models that run on this machine: which ones exist, how they come here, and whether a file is one.

Owns the directory `models` inside the data directory. Does not own the process that runs a model (`supervise`).
"""
