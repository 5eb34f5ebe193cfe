"""EzAI: a self-hosted streaming AI gateway that speaks the Anthropic Messages API."""

__version__ = "0.1.0.dev0"

__all__ = ["__version__"]
