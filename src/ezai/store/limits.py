"""The limits of keys: given and shown, not enforced yet (`ezai keys` says so)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ezai.ports import Admission
    from ezai.protocol.usage import Usage


class UnenforcedLimits:
    """The port `Limits`, for a gateway that lets every valid key in."""

    async def admit(self, admission: Admission) -> None:
        pass

    def release(self, admission: Admission, usage: Usage) -> None:
        pass
