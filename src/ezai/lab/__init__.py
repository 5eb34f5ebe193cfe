"""Tools that are servers and loads: for testing gateways, and applications that talk to one.

Imports nothing of the gateway but `protocol` and `errors`.

mock/   a scripted upstream, well-behaved or faulty on request, with a journal: `ezai mock`
load/   a load generator for streams that finds every lost token: `ezai bench`
"""
