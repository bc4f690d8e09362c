"""GET /status, GET /ready."""

from jan.errors import Unavailable, when_to_retry
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.scopes import PUBLIC, READ
from jan.schema.status import Ready, Status


class SystemStatus(Handler):
    """The state of the server's parts."""

    @operation(
        summary="Detailed system status",
        access=READ,
        tag="health",
        response=Status,
        examples=(Example(summary="How is everything?"),),
    )
    async def get(self) -> Status:
        """Every part is probed for this answer, within two seconds."""
        return await self.services.probes.status()


class Readiness(Handler):
    """Whether the server can serve everything."""

    @operation(
        summary="Readiness",
        access=PUBLIC,
        tag="health",
        response=Ready,
        limit="none",
        errors=(Unavailable,),
        examples=(Example(summary="May traffic come?"),),
    )
    async def get(self) -> Ready:
        """200 when it can; 503 when the store is away, a model's thread is dead, or a model makes no tokens
        while work waits."""
        problems = await self.services.probes.problems()
        if problems:
            raise Unavailable("not ready: " + "; ".join(problems), code="not_ready", headers=when_to_retry(2000))
        return Ready()
