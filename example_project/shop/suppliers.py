"""The outside world: a supplier who takes his time, and three wholesalers who can be asked at once.

They stand for calls over a network. They wait as such calls do, and answer the same for the same book.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from dataclasses import dataclass

from django.conf import settings

# Name, and how long it takes to answer, in seconds.
WHOLESALERS = (("Northern Book Depot", 0.14), ("Harbour Wholesale", 0.09), ("Quayside Paper & Print", 0.18))


@dataclass(frozen=True, slots=True)
class Quote:
    wholesaler: str
    discount_percent: int
    days: int
    answered_s: float


def copies_at_supplier(isbn: str) -> int:
    """Ask the supplier how many copies he could send. Blocks for BOOKSHOP_SUPPLIER_DELAY_S seconds."""
    time.sleep(settings.BOOKSHOP_SUPPLIER_DELAY_S)
    return zlib.crc32(isbn.encode()) % 90


async def quotes() -> list[Quote]:
    """Ask every wholesaler at the same time; as long as the slowest takes."""
    return list(await asyncio.gather(*(_ask(name, delay_s) for name, delay_s in WHOLESALERS)))


async def _ask(name: str, delay_s: float) -> Quote:
    began = time.perf_counter()
    await asyncio.sleep(delay_s)
    known = zlib.crc32(name.encode())
    return Quote(name, 30 + known % 14, 1 + known % 4, time.perf_counter() - began)
