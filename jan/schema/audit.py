"""The audit as clients see it."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from jan.schema.paging import PageQuery

AuditId = Annotated[str, Meta(max_length=200)]


class AuditQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters that select a page of the whole audit. ``act`` is the name of an act, such as `key.made`."""

    user_id: AuditId | None = None
    actor: AuditId | None = None
    act: AuditId | None = None


class AuditedAct(msgspec.Struct, frozen=True, kw_only=True):
    """One act: who did what, when, and from where.

    ``actor`` is the id of the user who acted, `command_line` or `server`, null for somebody unknown.
    ``credential`` is the id of the key or session that was used, ``user_id`` whose account is concerned, and
    ``target`` the id of what was acted upon. ``count`` says how often, for acts that are counted, such as
    `request.refused`.
    """

    id: str
    object: Literal["audit_entry"] = "audit_entry"
    created_at: datetime
    act: str
    actor: str | None
    credential: str | None
    address: str | None
    user_id: str | None
    target: str | None
    count: int
    details: dict[str, str]


class AuditList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of audit entries, the newest first."""

    object: Literal["list"] = "list"
    data: list[AuditedAct]
    has_more: bool
    next_cursor: str | None
