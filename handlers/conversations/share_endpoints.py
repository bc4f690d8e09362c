"""Serves links to conversations: .../{conversation_id}/shares, /user/shares, and /shared, which reads one."""

from msgspec import UNSET

from handlers.texts.bounded_rendering import rendered_in_turn
from jan.errors import NotFound, Unavailable
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.scopes import PUBLIC, READ, WRITE
from jan.schema.shares import (
    CreatedShare,
    ShareCreate,
    SharedConversation,
    SharedMessage,
    SharedQuery,
    ShareInfo,
    ShareList,
    ShareListQuery,
    ShareRevoked,
)
from jan.storage.records import MessageRecord, Page
from jan.storage.share_records import ShareRecord

_DAY = 86_400


def _info(share: ShareRecord) -> ShareInfo:
    return ShareInfo(
        id=share.id,
        conversation_id=share.conversation_id,
        title=share.title,
        message_id=share.message_id,
        include_later=share.message_id is None and share.last_sequence is None,
        include_system=share.with_system,
        created_at=share.created_at,
        expires_at=share.expires_at,
    )


def _listed(page: Page[ShareRecord]) -> ShareList:
    return ShareList(
        data=[_info(share) for share in page.items],
        has_more=page.next_cursor is not None,
        next_cursor=page.next_cursor,
    )


class ConversationShares(Handler):
    """The links to one conversation of the caller."""

    @operation(
        summary="Share a conversation by a link",
        access=WRITE,
        tag="conversations",
        request=ShareCreate,
        response=CreatedShare,
        creates=True,
        errors=(NotFound, Unavailable),
        examples=(
            Example(summary="All branches, for a week", body={}),
            Example(summary="For a day, with what follows", body={"expires_in": _DAY, "include_later": True}),
        ),
    )
    async def post(self, conversation_id: str, body: ShareCreate) -> CreatedShare:
        """Make a link that shows the conversation to whoever has it: title and texts of questions and answers as
        they are now, nothing else of it and of its owner. `secret` is never shown again. Needs the permission
        `read` too. Refused with `shares_off` unless `shares.enabled` is set."""
        self.require("read")
        made = await self.services.shares.make(self.user_id, conversation_id, body, self.mint)
        info = {name: getattr(_info(made.record), name) for name in ShareInfo.__struct_fields__}
        return CreatedShare(secret=made.secret, fragment=f"#share={made.secret}", **info)

    @operation(
        summary="List the links to a conversation",
        access=READ,
        tag="conversations",
        query=ShareListQuery,
        response=ShareList,
        errors=(NotFound, Unavailable),
    )
    async def get(self, conversation_id: str, query: ShareListQuery) -> ShareList:
        """List the links to the conversation that have not ended, without their secrets, in order of creation."""
        return _listed(
            await self.services.shares.page(
                self.user_id, conversation_id=conversation_id, limit=query.limit, cursor=query.cursor
            )
        )


class UserShares(Handler):
    """All links of the caller."""

    @operation(
        summary="List my links to conversations",
        access=READ,
        tag="user",
        query=ShareListQuery,
        response=ShareList,
        errors=(Unavailable,),
        examples=(Example(summary="What do I share?"),),
    )
    async def get(self, query: ShareListQuery) -> ShareList:
        """List the caller's links that have not ended, without their secrets, in order of creation, a page at a
        time: `next_cursor` of one page is the `cursor` of the next."""
        return _listed(await self.services.shares.page(self.user_id, limit=query.limit, cursor=query.cursor))


class OneShare(Handler):
    """One link of the caller."""

    @operation(
        summary="Revoke a link to a conversation",
        access=WRITE,
        tag="user",
        response=ShareRevoked,
        errors=(NotFound, Unavailable),
    )
    async def delete(self, share_id: str) -> ShareRevoked:
        """End the link at once. Pages that show the conversation already keep what they have."""
        await self.services.shares.revoke(self.user_id, share_id)
        return ShareRevoked(id=share_id)


class SharedReading(Handler):
    """A shared conversation, for whoever has its link."""

    def set_default_headers(self) -> None:
        """Keep the conversation out of indexes of search engines."""
        super().set_default_headers()
        self.set_header("X-Robots-Tag", "noindex, nofollow")

    @operation(
        summary="Read a shared conversation",
        access=PUBLIC,
        tag="conversations",
        request=SharedQuery,
        response=SharedConversation,
        errors=(NotFound, Unavailable),
        examples=(Example(summary="A link of the page", body={"secret": "jans_", "include_html": True}),),
    )
    async def post(self, body: SharedQuery) -> SharedConversation:
        """Return what a link shows, a page at a time: `next_cursor` of one page is the `cursor` of the next.

        It is a POST, because the secret must not be in a URL, which servers and proxies log. A link that shows
        nothing is a 404, whatever the reason: unknown, ended, revoked, its conversation or user gone. Requests
        are counted by address.
        """
        part = await self.services.shares.read(body.secret, limit=body.limit, cursor=body.cursor)
        data = [_shown(one.message, one.texts, one.left_out) for one in part.messages]
        if body.include_html:
            await self._render([one for one in data if one.role == "assistant" and one.texts])
        return SharedConversation(
            title=part.share.title,
            created_at=part.share.created_at,
            expires_at=part.share.expires_at,
            data=data,
            has_more=part.next_cursor is not None,
            next_cursor=part.next_cursor,
        )

    async def _render(self, answers: list[SharedMessage]) -> None:
        texts = ["\n\n".join(one.texts) for one in answers]
        for one, blocks in zip(answers, await rendered_in_turn(self.services.renderer, texts), strict=True):
            one.blocks = blocks


def _shown(message: MessageRecord, texts: list[str], left_out: int) -> SharedMessage:
    return SharedMessage(
        id=message.id,
        parent_id=message.parent_id,
        sequence=message.sequence,
        role=message.role,
        model=message.model,
        created_at=int(message.created_at.timestamp()),
        texts=texts,
        left_out=left_out or UNSET,
    )
