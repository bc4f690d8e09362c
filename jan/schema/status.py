"""GET /status, GET /status/processes and GET /ready."""

from typing import Literal

import msgspec

Condition = Literal["healthy", "unhealthy", "not_configured"]


class ExternalApis(msgspec.Struct, frozen=True, kw_only=True):
    """Services outside of this server."""

    serper: Condition


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The condition of each part, probed just now."""

    api_gateway: Condition
    inference_model: Condition
    database: Condition
    external_apis: ExternalApis


class ProcessUse(msgspec.Struct, frozen=True, kw_only=True):
    """A process of the server, and what it uses; null where the system does not tell.

    ``name``: the number of a web loop, or the model of an engine. ``cpu_seconds``: since its start.
    """

    role: Literal["server", "supervisor", "web_loop", "engine"]
    name: str
    pid: int
    cpu_seconds: float | None
    memory_bytes: int | None


class Processes(msgspec.Struct, frozen=True, kw_only=True):
    """The processes of the server. The first one has started the others."""

    processes: tuple[ProcessUse, ...]


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """Confirmation that the server can serve everything it is configured for."""

    status: Literal["ready"] = "ready"
