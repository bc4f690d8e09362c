"""GET /health and GET /version."""

from datetime import datetime
from typing import Literal

import msgspec


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """A sign that the process answers. ``timestamp`` is UTC."""

    status: Literal["ok"] = "ok"
    timestamp: datetime


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """The running versions of server and Python."""

    name: str
    version: str
    python: str
