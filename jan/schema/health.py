"""GET /health and GET /version."""

from datetime import datetime
from typing import Literal

import msgspec


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The process answers; ``timestamp`` is UTC."""

    status: Literal["ok"] = "ok"
    timestamp: datetime


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """What is running."""

    name: str
    version: str
    python: str
