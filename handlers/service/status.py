"""GET /status, GET /status/processes and GET /ready."""

from jan.errors import Unavailable, retry_headers
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.scopes import LOOPBACK_OR_ADMIN, PUBLIC, READ
from jan.schema.status import Processes, Ready, Status


class SystemStatus(Handler):
    """The condition of the server's parts."""

    @operation(
        summary="Detailed system status",
        access=READ,
        tag="health",
        response=Status,
        examples=(Example(summary="How is everything?"),),
    )
    async def get(self) -> Status:
        """Probe every part for this answer, within two seconds."""
        return await self.services.probes.status()


class ProcessList(Handler):
    """The processes of the server."""

    @operation(
        summary="Processes of the server",
        access=LOOPBACK_OR_ADMIN,
        tag="health",
        response=Processes,
        limit="none",
        examples=(Example(summary="What runs, and what does it use?"),),
    )
    async def get(self) -> Processes:
        """List the server's web loops and the processes of its models, with their CPU time and memory. Requires an
        administrator's credentials, unless the server admits anonymous callers on loopback only."""
        return await self.services.probes.processes()


class Readiness(Handler):
    """A check that the server can serve everything."""

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
        """Answer 200 if the server is ready. Answer 503 if the store can't be reached, a model's thread is dead,
        or a model makes no tokens while work waits."""
        problems = await self.services.probes.problems()
        if problems:
            message = f"The server is not ready. {' '.join(problems)}"
            raise Unavailable(message, code="not_ready", headers=retry_headers(2000))
        return Ready()
