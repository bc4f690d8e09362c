"""GET /status and GET /ready."""

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


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """Confirmation that the server can serve everything it is configured for."""

    status: Literal["ready"] = "ready"
