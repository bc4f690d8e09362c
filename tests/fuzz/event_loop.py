"""The event loop of targets that need one."""

import asyncio
import atexit
from functools import cache


@cache
def runner() -> asyncio.Runner:
    """Return what runs coroutines: one for all inputs, because each loop costs as much as hundreds of them."""
    made = asyncio.Runner()
    atexit.register(made.close)
    return made
