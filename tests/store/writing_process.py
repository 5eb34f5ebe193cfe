"""A process that records requests until it is killed, and says of each that its settlement was awaited.

python -m tests.store.writing_process DATABASE
"""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import count
from pathlib import Path

from ezai.store.ledger import SqliteLedger
from tests.store.records import intent, recording, settlement


async def main(path: Path) -> None:
    async with recording(path) as ledger, asyncio.TaskGroup() as group:
        numbers = count()
        for _ in range(8):
            group.create_task(_record(ledger, numbers))


async def _record(ledger: SqliteLedger, numbers: count[int]) -> None:
    for number in numbers:
        mine = intent(f"req_{os.getpid()}_{number}")
        await ledger.intend(mine)
        await ledger.settle(settlement(mine))
        os.write(1, f"{mine.request_id}\n".encode())
        await asyncio.sleep(0)  # the ledger itself does not wait


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
