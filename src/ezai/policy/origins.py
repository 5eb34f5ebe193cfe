"""Which web pages may call the gateway from a browser: those whose origin the operator has listed.

An origin is scheme, host and port, as browsers send it in `Origin` (RFC 6454, section 7). It is compared as a whole:
patterns are how a page that nobody meant gets in.
"""

from __future__ import annotations

import re

_ORIGIN = re.compile(r"https?://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?P<port>:[1-9][0-9]{0,4})?")
_DEFAULT_PORT = {"http": ":80", "https": ":443"}


def origin_problem(text: str) -> tuple[str, str] | None:
    """What is wrong with an origin as an operator writes it, and how to fix it; None where nothing is."""
    if text == "*":
        return "every web page would be let in", "List each origin by itself."
    if text == "null":
        return "'null' is what every file and sandboxed frame sends", "Serve the page over HTTP and list its origin."
    found = _ORIGIN.fullmatch(text)
    if found is None:
        return f"{text!r} is no origin", "Write it as browsers do: https://app.example.com, with a port but no path."
    if found["port"] == _DEFAULT_PORT[text.partition(":")[0]]:
        return f"{text!r} has a port that browsers leave out", f"Write {text.removesuffix(found['port'])}."
    return None
