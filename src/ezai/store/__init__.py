"""Keys and records at rest.

static_keys.py   the one key that the environment names
"""
