"""The real model for tests that need it, pulled once into the data directory of the repository."""

from pathlib import Path

from ezai.models.catalogue import DEFAULT_MODEL
from ezai.models.pull import pull

REPOSITORY_DATA_DIR = Path(__file__).resolve().parents[1] / ".data"


def ensure_model() -> Path:
    """The path of the default model's file; the first call on a fresh clone downloads it."""
    return pull(DEFAULT_MODEL, REPOSITORY_DATA_DIR)
