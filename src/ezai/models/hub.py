"""A GGUF file from the model hub, by `OWNER/REPO/FILE.gguf`, through huggingface_hub (the extra `hf`).

Where the files are kept, the endpoint, tokens and offline mode are that library's own business (its environment
variables `HF_*`), so a file that another program fetched is not fetched again.
"""

from __future__ import annotations

from pathlib import Path

from ezai.errors import SetupError

PREFIX = "hf:"


def fetch(reference: str) -> Path:
    """The path of the file that `hf:OWNER/REPO/FILE.gguf` names, downloaded if it is not here yet.

    FILE may stand in a folder of the repository. Raises `SetupError`. Blocks; works without a network once the file
    is here.
    """
    repository, file = _parse(reference)
    try:
        import huggingface_hub
    except ImportError as error:
        raise SetupError(
            f"{reference} needs huggingface_hub, which is not installed: run `pip install 'ezai[hf]'`."
        ) from error
    from huggingface_hub import errors

    try:
        return Path(huggingface_hub.hf_hub_download(repository, file))
    except errors.GatedRepoError as error:
        raise SetupError(
            f"{reference} is gated: accept its terms on its page, set HF_TOKEN to a token of that account, try again."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise SetupError(
            f"The hub has no repository {repository}, or it is private: check the name, "
            f"or set HF_TOKEN to a token that may read it."
        ) from error
    except errors.RemoteEntryNotFoundError as error:
        raise SetupError(f"The repository {repository} has no file {file}: check the name on its page.") from error
    except errors.LocalEntryNotFoundError as error:
        # Both "offline mode" and every failure to connect end here.
        raise SetupError(
            f"The hub could not be reached and {reference} is not here yet: check the network "
            f"(and that HF_HUB_OFFLINE is not set), or give the path of a GGUF file."
        ) from error
    except (errors.HFValidationError, ValueError) as error:
        raise SetupError(f"{reference} is not of the form hf:OWNER/REPO/FILE.gguf.") from error
    except Exception as error:  # also its HTTP client's own, which change with the client it uses
        raise SetupError(
            f"{reference} could not be downloaded ({type(error).__name__}): try again, or give the path of a GGUF file."
        ) from error


def _parse(reference: str) -> tuple[str, str]:
    owner, _, rest = reference.removeprefix(PREFIX).partition("/")
    name, _, file = rest.partition("/")
    if not (owner and name and file.lower().endswith(".gguf")) or ".." in file.split("/"):
        raise SetupError(f"{reference} is not of the form hf:OWNER/REPO/FILE.gguf.")
    return f"{owner}/{name}", file
