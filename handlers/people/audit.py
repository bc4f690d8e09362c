"""GET /user/audit and GET /audit: what was done, by whom."""

from collections.abc import Callable

from msgspec.structs import replace

from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.audit import AuditedAct, AuditList, AuditQuery
from jan.schema.paging import PageQuery
from jan.schema.scopes import ADMIN, READ
from jan.storage.audit import AuditEntry, AuditFilter
from jan.storage.records import Page


def act_of(entry: AuditEntry) -> AuditedAct:
    """Return an entry as administrators see it."""
    return AuditedAct(
        id=entry.id,
        created_at=entry.at,
        act=entry.act,
        actor=entry.actor,
        credential=entry.credential,
        address=entry.address,
        user_id=entry.user_id,
        target=entry.target,
        count=entry.count,
        details=entry.details,
    )


def _list(page: Page[AuditEntry], shown: Callable[[AuditEntry], AuditedAct]) -> AuditList:
    return AuditList(
        data=[shown(entry) for entry in page.items],
        has_more=page.next_cursor is not None,
        next_cursor=page.next_cursor,
    )


class UserAudit(Handler):
    """The audit entries of the caller's account."""

    @operation(
        summary="What was done with my account",
        access=READ,
        tag="user",
        query=PageQuery,
        response=AuditList,
        examples=(Example(summary="The latest"),),
    )
    async def get(self, query: PageQuery) -> AuditList:
        """List sign-ins, changes of keys and sessions, and what administrators changed, the newest first, a page
        at a time: `next_cursor` of one page is the `cursor` of the next. Where somebody else acted, their address
        and credential are left out."""
        wanted = AuditFilter(user_id=self.user_id)
        page = await self.services.audit.page(limit=query.limit, cursor=query.cursor, wanted=wanted)
        return _list(page, self._shown)

    def _shown(self, entry: AuditEntry) -> AuditedAct:
        act = act_of(entry)
        return act if entry.actor == self.user_id else replace(act, credential=None, address=None)


class WholeAudit(Handler):
    """The audit entries of all users and the server."""

    @operation(
        summary="What was done on this server",
        access=ADMIN,
        tag="users",
        query=AuditQuery,
        response=AuditList,
        examples=(Example(summary="The latest"),),
    )
    async def get(self, query: AuditQuery) -> AuditList:
        """List the audit of all users and the server, the newest first, a page at a time. `user_id`, `actor` and
        `act` select entries."""
        wanted = AuditFilter(user_id=query.user_id, actor=query.actor, act=query.act)
        page = await self.services.audit.page(limit=query.limit, cursor=query.cursor, wanted=wanted)
        return _list(page, act_of)
