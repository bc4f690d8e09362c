"""Users, API keys and sessions on MongoDB."""

from datetime import datetime
from functools import partial

import msgspec

from jan.errors import Conflict
from jan.schema.email_address import ascii_lower
from jan.storage.holdings import amounts_of_key
from jan.storage.mongo.client import Collection, Connection
from jan.storage.mongo.documents import encode
from jan.storage.mongo.holdings import MongoHoldings
from jan.storage.paging import id_of, page_of
from jan.storage.records import ApiKey, OidcSubject, Page, User, UserChanges
from jan.storage.session_records import RefreshSession, Rotation
from jan.storage.shared_rules import missing, rotated_key, rotation_refusal

_BY_ID = [("_id", 1)]


class MongoUsers:
    """Implements ``repositories.UserRepository`` on MongoDB."""

    def __init__(self, connection: Connection) -> None:
        self.records = Collection(connection, "users", User)

    async def create(self, user: User) -> None:
        await self.records.insert(user)

    async def get(self, user_id: str) -> User:
        user = await self.records.find_one({"_id": user_id, "deleted_at": None})
        if user is None:
            raise missing(User)
        return user

    async def find_by_email(self, email: str) -> User | None:
        return await self.records.find_one({"email": ascii_lower(email.strip())})

    async def find_by_subject(self, subject: OidcSubject) -> User | None:
        return await self.records.find_one({"oidc.issuer": subject.issuer, "oidc.subject": subject.subject})

    async def page(self, *, limit: int, cursor: str | None = None) -> Page[User]:
        where = {"_id": {"$gt": id_of(cursor)}, "deleted_at": None}
        found = await self.records.find(where, sort=_BY_ID, limit=limit + 1)
        return page_of(found, limit, lambda user: user.id)

    async def update(self, user_id: str, changes: UserChanges) -> User:
        if fields := encode(changes):
            await self.records.update_one({"_id": user_id, "deleted_at": None}, {"$set": fields})
        return await self.get(user_id)


class MongoKeys:
    """Implements ``repositories.KeyRepository`` on MongoDB."""

    def __init__(self, connection: Connection, holdings: MongoHoldings) -> None:
        self.records = Collection(connection, "api_keys", ApiKey)
        self._holdings = holdings

    async def create(self, key: ApiKey) -> None:
        async with self._holdings.adding(key.user_id, amounts_of_key(key), partial(self.records.has, key.id)):
            await self.records.insert(key)

    async def find(self, key_id: str) -> ApiKey | None:
        return await self.records.find_one({"_id": key_id})

    async def find_by_hash(self, key_hash: str) -> ApiKey | None:
        return await self.records.find_one({"hash": key_hash})

    async def page(self, user_id: str, *, limit: int, cursor: str | None = None) -> Page[ApiKey]:
        where = {"user_id": user_id, "_id": {"$gt": id_of(cursor)}}
        found = await self.records.find(where, sort=_BY_ID, limit=limit + 1)
        return page_of(found, limit, lambda key: key.id)

    async def rename(self, user_id: str, key_id: str, name: str) -> ApiKey:
        await self.records.update_one({"_id": key_id, "user_id": user_id}, {"$set": {"name": name}})
        return await self._owned(user_id, key_id)

    async def revoke(self, user_id: str, key_id: str, at: datetime) -> ApiKey:
        where = {"_id": key_id, "user_id": user_id, "revoked_at": None}
        before = await self._owned(user_id, key_id)
        if await self.records.update_one(
            {**where, "replaced_by": before.replaced_by}, {"$set": {"revoked_at": at}}
        ):
            await self._holdings.change(user_id, amounts_of_key(before).negative())
        else:  # it was revoked before, or replaced meanwhile
            await self.records.update_one(where, {"$set": {"revoked_at": at}})
        return await self._owned(user_id, key_id)

    async def rotate(self, user_id: str, key_id: str, replacement: ApiKey, grace_ends: datetime) -> ApiKey:
        outgoing = rotated_key(await self._owned(user_id, key_id), replacement.id, grace_ends)
        try:
            await self.records.insert(replacement)
        except Conflict:
            # An earlier attempt that was interrupted here may have left the very same replacement.
            left = await self.records.find_one({"_id": replacement.id})
            if left is None or left.hash != replacement.hash:
                raise
            replacement = left
        in_use = {"_id": key_id, "revoked_at": None, "replaced_by": None}
        change = {"$set": {"replaced_by": replacement.id, "expires_at": outgoing.expires_at}}
        if not await self.records.update_one(in_use, change):
            if (await self._owned(user_id, key_id)).replaced_by == replacement.id:
                return replacement
            await self.records.delete({"_id": replacement.id})
            raise Conflict("This key was rotated or revoked meanwhile.", code="key_not_in_use")
        return replacement

    async def touch(self, key_id: str, at: datetime) -> None:
        await self.records.update_one({"_id": key_id}, {"$max": {"last_used_at": at}})

    async def _owned(self, user_id: str, key_id: str) -> ApiKey:
        key = await self.records.find_one({"_id": key_id, "user_id": user_id})
        if key is None:
            raise missing(ApiKey)
        return key


class MongoSessions:
    """Implements ``session_records.SessionRepository`` on MongoDB."""

    def __init__(self, connection: Connection) -> None:
        self.records = Collection(connection, "sessions", RefreshSession)

    async def start(self, session: RefreshSession) -> None:
        await self.records.insert(session)

    async def find(self, session_id: str) -> RefreshSession | None:
        return await self.records.find_one({"_id": session_id})

    async def rotate(
        self, session_id: str, presented_jti: str, next_jti: str, *, at: datetime, expires_at: datetime
    ) -> Rotation:
        fields = {"current_jti": next_jti, "last_used_at": at, "expires_at": expires_at}
        current = {"_id": session_id, "current_jti": presented_jti, "ended_at": None}
        while True:
            session = await self.find(session_id)
            refused = rotation_refusal(session, presented_jti, at)
            if session is None or refused is not None:
                break
            if await self.records.update_one(current, {"$set": fields}):
                return Rotation("rotated", msgspec.structs.replace(session, **fields))
            # Another request won meanwhile. The session it stored refuses this one.
        if refused is not None and refused.outcome == "reused":
            await self.end(session_id, at=at, reason="reused")
        return refused or Rotation("unknown")

    async def page(self, user_id: str, *, limit: int, cursor: str | None = None) -> Page[RefreshSession]:
        where = {"user_id": user_id, "ended_at": None, "_id": {"$gt": id_of(cursor)}}
        found = await self.records.find(where, sort=_BY_ID, limit=limit + 1)
        return page_of(found, limit, lambda session: session.id)

    async def touch(self, session_id: str, at: datetime) -> None:
        await self.records.update_one({"_id": session_id}, {"$max": {"last_used_at": at}})

    async def end(self, session_id: str, *, at: datetime, reason: str) -> None:
        change = {"$set": {"ended_at": at, "reason": reason}}
        await self.records.update_one({"_id": session_id, "ended_at": None}, change)

    async def end_all(self, user_id: str, *, at: datetime, reason: str) -> int:
        change = {"$set": {"ended_at": at, "reason": reason}}
        return await self.records.update_many({"user_id": user_id, "ended_at": None}, change)

    async def purge(self, before: datetime) -> int:
        return await self.records.delete({"expires_at": {"$lt": before}})
