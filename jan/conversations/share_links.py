"""Conversations that are shared by a link: made and revoked by their owner, read by whoever has the link.

The link has a secret of 128 random bits, of which only a hash is kept. It has to stay out of URLs that servers and
proxies see: the page's link has it in the fragment, and the page sends it in the body of a request.
"""

import hashlib
from base64 import urlsafe_b64encode
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec
from msgspec import UNSET

from jan.audit.acts import Auditor
from jan.errors import NotFound, wrong_value
from jan.idempotency.ids import IdSource
from jan.schema.shares import ShareCreate
from jan.settings import ShareSettings
from jan.storage.paging import sequence_of
from jan.storage.records import MessageRecord, Page, now
from jan.storage.repositories import Store
from jan.storage.share_records import ShareRecord

# What the secret of a link begins with.
_PREFIX = "jans_"
_SECRET_BYTES = 16
# How long a link works that is made without an end.
_USUAL = timedelta(days=7)
# Characters of messages on one page, unless the first message has more.
_PAGE_LENGTH = 500_000


class MadeShare(msgspec.Struct, frozen=True):
    """A new share and the secret of its link, which is known only now. Its ``repr`` hides the secret."""

    record: ShareRecord
    secret: str

    def __repr__(self) -> str:
        return f"MadeShare(id={self.record.id!r})"


class ShownMessage(msgspec.Struct, frozen=True):
    """A message of a shared conversation: the texts that are shown, and how many other parts are not."""

    message: MessageRecord
    texts: list[str]
    left_out: int


class SharedPart(msgspec.Struct, frozen=True):
    """A page of a shared conversation. ``next_cursor`` is None on the last page."""

    share: ShareRecord
    messages: list[ShownMessage]
    next_cursor: str | None


class Shares:
    """The links of all users. Every method may raise Unavailable; NotFound stands for another's too.

    A change returns once its audit entry is stored.
    """

    def __init__(self, store: Store, audit: Auditor, settings: ShareSettings) -> None:
        self._store = store
        self._audit = audit
        self._settings = settings

    async def make(self, user_id: str, conversation_id: str, asked: ShareCreate, ids: IdSource) -> MadeShare:
        """Make a link to a conversation. Its id and secret are from ``ids``; an earlier attempt counts as this
        one.

        Raises NotFound, also with the code ``shares_off`` where no links are made, InvalidRequest for one that
        would work for too long, and RateLimited beyond the user's quota.
        """
        lifetime = self._lifetime(asked)
        conversation = await self._store.conversations.get(user_id, conversation_id)
        if asked.message_id is not None:
            await self._store.messages.history(user_id, conversation_id, message_id=asked.message_id)
        secret = _PREFIX + urlsafe_b64encode(ids.token_bytes(_SECRET_BYTES)).rstrip(b"=").decode()
        at = now()
        record = ShareRecord(
            id=ids.new_id("share"),
            user_id=user_id,
            conversation_id=conversation_id,
            hash=_hash_of(secret),
            title=conversation.title,
            message_id=asked.message_id,
            last_sequence=None if asked.include_later else conversation.message_count,
            with_system=asked.include_system,
            created_at=at,
            expires_at=at + lifetime,
        )
        record = await ids.make(record, self._store.shares.create, lambda: self._made_before(record))
        record = await self._still_true(record)
        await self._audit.record("share.made", user_id=user_id, target=record.id, conversation=conversation_id)
        return MadeShare(record, secret)

    async def _still_true(self, share: ShareRecord) -> ShareRecord:
        """Return a new share, without its title if that was removed while the share was made.

        Raises NotFound if the conversation was deleted meanwhile; nothing of the share is left then.
        """
        try:
            conversation = await self._store.conversations.get(share.user_id, share.conversation_id)
        except NotFound:
            with suppress(NotFound):
                await self._store.shares.remove(share.user_id, share.id)
            raise
        if share.title in ("", conversation.title):
            return share
        await self._store.shares.blank_titles(share.conversation_id)
        return msgspec.structs.replace(share, title="")

    def _lifetime(self, asked: ShareCreate) -> timedelta:
        if not self._settings.enabled:
            raise NotFound(
                "Conversations can't be shared by links on this server. An administrator allows it by the setting "
                "shares.enabled.",
                code="shares_off",
            )
        longest = self._settings.longest
        if asked.expires_in is UNSET:
            return min(_USUAL, longest)
        if (lifetime := timedelta(seconds=asked.expires_in)) > longest:
            most = int(longest.total_seconds())
            message = f"expires_in: It is {asked.expires_in} seconds; allowed: at most {most}."
            raise wrong_value(message, "expires_in")
        return lifetime

    async def _made_before(self, share: ShareRecord) -> ShareRecord:
        found = await self._store.shares.find(share.id)
        if found is None or found.hash != share.hash:
            raise _no_share()
        return found

    async def page(
        self, user_id: str, *, conversation_id: str | None = None, limit: int, cursor: str | None = None
    ) -> Page[ShareRecord]:
        """Return one page of a user's links, or of those to one conversation, in order of creation, without those
        that have ended. Raises NotFound, and InvalidRequest for a malformed cursor."""
        if conversation_id is not None:
            await self._store.conversations.get(user_id, conversation_id)
        page = await self._store.shares.page(user_id, conversation_id=conversation_id, limit=limit, cursor=cursor)
        bounded = map(self._bounded, page.items)
        return Page([share for share in bounded if share.is_live(now())], page.next_cursor)

    async def revoke(self, user_id: str, share_id: str) -> None:
        """End a link at once; raises NotFound."""
        await self._store.shares.remove(user_id, share_id)
        await self._audit.record("share.revoked", user_id=user_id, target=share_id)

    async def read(self, secret: str, *, limit: int, cursor: str | None = None) -> SharedPart:
        """Return a page of the conversation that a link shows.

        Raises the same NotFound whatever the reason is that it shows nothing: no such link, an ended one, a
        conversation or user that is gone, a user who is disabled, links that are off. Raises InvalidRequest for a
        malformed cursor.
        """
        start = sequence_of(cursor) or 0
        try:
            share = await self._live(secret)
            return await self._part(share, start, limit)
        except NotFound:
            raise _no_share() from None

    async def _live(self, secret: str) -> ShareRecord:
        found = await self._store.shares.find_by_hash(_hash_of(secret)) if self._settings.enabled else None
        if found is None or not self._bounded(found).is_live(now()):
            raise _no_share()
        if (await self._store.users.get(found.user_id)).disabled:
            raise _no_share()
        return self._bounded(found)

    def _bounded(self, share: ShareRecord) -> ShareRecord:
        """Return a share that ends no later than the settings allow, which may have changed."""
        end: datetime = min(share.expires_at, share.created_at + self._settings.longest)
        return msgspec.structs.replace(share, expires_at=end)

    async def _part(self, share: ShareRecord, start: int, limit: int) -> SharedPart:
        """Return the messages behind ``start``: a number of messages of a branch, else a sequence number."""
        user_id, conversation_id = share.user_id, share.conversation_id
        if share.message_id is None:
            page = await self._store.messages.page(user_id, conversation_id, limit=limit, cursor=str(start))
            last = share.last_sequence
            found = [message for message in page.items if last is None or message.sequence <= last]
            more = page.next_cursor is not None and (last is None or page.items[-1].sequence < last)
        else:
            path = await self._store.messages.history(user_id, conversation_id, message_id=share.message_id)
            found = path[start : start + limit]
            more = len(path) > start + limit
        shown = _fitting(found)
        more = more or len(shown) < len(found)
        end = start + len(shown) if share.message_id is not None else shown[-1].sequence if shown else start
        messages = [ShownMessage(message, *_shown_of(message, share)) for message in shown]
        return SharedPart(share, messages, str(end) if more else None)


def _shown_of(message: MessageRecord, share: ShareRecord) -> tuple[list[str], int]:
    """Return the texts of a message that a share shows, and how many other parts it has.

    Results of tools, calls and reasoning are not shown, and the system prompt only if its owner chose that.
    """
    is_system = message.role in ("system", "developer")
    if message.role == "tool" or (is_system and not share.with_system):
        return [], 0
    content = message.content
    if not isinstance(content, list):
        return [content] if content else [], 0
    texts = [part.get("text", part.get("refusal")) for part in content]
    shown = [text for text in texts if isinstance(text, str)]
    return shown, len(texts) - len(shown)


def _fitting(messages: list[MessageRecord]) -> list[MessageRecord]:
    """Return the first messages that are no longer than a page together, and one at least."""
    length = 0
    for number, message in enumerate(messages):
        content = message.content or ""
        length += len(content) if isinstance(content, str) else sum(len(str(part)) for part in content)
        if number and length > _PAGE_LENGTH:
            return messages[:number]
    return messages


def _hash_of(secret: str) -> str:
    """Return the hash that is stored and looked up. 128 random bits need no salt and no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _no_share() -> NotFound:
    return NotFound("There is no such link. It may have ended, or its owner has revoked it.")
