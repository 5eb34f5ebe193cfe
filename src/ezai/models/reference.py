"""What `model = "..."` of an embedded upstream means: a file on this machine that is a GGUF model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ezai.errors import SetupError
from ezai.models import hub
from ezai.models.catalogue import CATALOGUE, CatalogueModel, model_path
from ezai.models.gguf import MalformedGgufError, read_header
from ezai.models.verify import is_pulled


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model that is here and was looked at.

    `public_id` is the catalogue's name, and None for any other file: no path or file name ever leaves, so such a
    model is called what the configuration calls its upstream. `context_tokens` is what it was trained with, where
    that is known; `takes_tools` says that its chat template knows them.
    """

    path: Path
    public_id: str | None
    context_tokens: int | None
    takes_tools: bool = False


def resolve(reference: str, data_dir: Path) -> LocalModel:
    """The model that the configuration names: a name of the catalogue, `hf:OWNER/REPO/FILE.gguf`, or a path.

    A path may begin with `~`; a relative one stands in the data directory. A catalogue model is not pulled here;
    one of the hub is downloaded. Raises `SetupError`.
    """
    if reference in CATALOGUE:
        return _pulled(CATALOGUE[reference], data_dir)
    if reference.startswith(hub.PREFIX):
        return _inspected(reference, hub.fetch(reference))
    return _inspected(reference, _path(reference, data_dir))


def _pulled(model: CatalogueModel, data_dir: Path) -> LocalModel:
    try:
        here = is_pulled(model, data_dir)
    except OSError as error:
        raise SetupError(f"The file of {model.name} cannot be read ({error.strerror}): mend that.") from error
    if not here:
        raise SetupError(f"The model {model.name} is not here yet: run `ezai models pull {model.name}`.")
    # Its digest is the pinned one, so there is nothing in it to look at.
    return LocalModel(model_path(model, data_dir), model.name, model.context_tokens)


def _path(reference: str, data_dir: Path) -> Path:
    try:
        return data_dir / Path(reference).expanduser()
    except RuntimeError as error:
        raise SetupError(f"The model {reference} names a home directory that does not exist.") from error


def _inspected(reference: str, path: Path) -> LocalModel:
    try:
        header = read_header(path)
    except FileNotFoundError as error:
        raise SetupError(
            f"There is no model {reference!r}: give one of {', '.join(CATALOGUE)}, the path of a GGUF file "
            f"(a relative one stands in the data directory), or hf:OWNER/REPO/FILE.gguf."
        ) from error
    except MalformedGgufError as error:
        raise SetupError(f"The model {reference!r} cannot be used: the file {error}.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or "no such path can exist"
        raise SetupError(f"The model {reference!r} cannot be read: {reason}.") from error
    return LocalModel(path, None, header.context_tokens, header.template_has_tools)
