"""What is served by, and who serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ezai.config import Config

if TYPE_CHECKING:
    from ezai.models.reference import LocalModel
    from ezai.supervise.stopping import Stopping
    from ezai.upstreams.embedded import EmbeddedEndpoint


class Model(Protocol):
    """An embedded model, as whoever serves by it needs it. `number` is that of its process."""

    @property
    def number(self) -> int: ...

    @property
    def local(self) -> LocalModel: ...

    @property
    def context_tokens(self) -> int: ...

    @property
    def endpoint(self) -> EmbeddedEndpoint | None:
        """Where it answers now; None while it is down."""
        ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One configuration to serve by, and the embedded model that goes with it."""

    number: int
    config: Config
    model: Model | None


class Servers(Protocol):
    """Whoever serves: this process (`serving`), or workers (`workers`).

    Made with what is told the number of each snapshot that no request needs any more.
    """

    async def start(self, snapshot: Snapshot) -> tuple[str, ...]:
        """Begin to answer; the names of the models that are listed. Raises `SetupError`."""
        ...

    async def use(self, snapshot: Snapshot) -> tuple[str, ...]:
        """Answer new requests by this snapshot. Raises `SetupError`; then nothing has changed."""
        ...

    def moved(self, model: Model) -> None:
        """An embedded model answers elsewhere now, or nowhere."""
        ...

    async def stop(self, stopping: Stopping) -> None:
        """Bring what runs to its end, in its stages; return when everything has."""
        ...

    async def aclose(self) -> None:
        """Let go of everything, however it went before."""
        ...
