"""GET /health and GET /version."""

import platform
from datetime import UTC, datetime

from jan import __version__
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.health import Health, Version
from jan.schema.scopes import PUBLIC


class HealthCheck(Handler):
    """A check that the process answers."""

    @operation(
        summary="Basic health check",
        access=PUBLIC,
        tag="health",
        response=Health,
        limit="none",
        examples=(Example(summary="Is it there?"),),
    )
    async def get(self) -> Health:
        """Answer as long as the process lives, whatever the state of its models."""
        return Health(timestamp=datetime.now(UTC).replace(microsecond=0))


class VersionInfo(Handler):
    """The running version of the server."""

    @operation(
        summary="Version of the server",
        access=PUBLIC,
        tag="health",
        response=Version,
        examples=(Example(summary="What is running?"),),
    )
    async def get(self) -> Version:
        """Return name and version of the server and the version of its Python."""
        return Version(name="jan-server", version=__version__, python=platform.python_version())
