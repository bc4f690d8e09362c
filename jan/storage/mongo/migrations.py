"""The schema and its versions. Two servers may start at once and run a step twice, so each step is idempotent.

A released step is never edited; a change is a new step.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
from pymongo import ASCENDING, DESCENDING, IndexModel

from jan.errors import ConfigurationError, Conflict
from jan.schema.limits import Quota
from jan.storage.folded_text import fold
from jan.storage.holdings import Amounts, amounts_of, amounts_of_key
from jan.storage.mongo.client import Collection, Connection
from jan.storage.mongo.documents import UNSEARCHED, said
from jan.storage.mongo.holdings import HoldingsDocument, MongoHoldings
from jan.storage.paging import size_of
from jan.storage.records import ApiKey, ConversationRecord, MessageRecord, Record


class SchemaVersion(Record, frozen=True, kw_only=True):
    """The one document that holds the schema version of the database."""

    id: str = "schema"
    version: int


async def _version_1(connection: Connection) -> None:
    up, down = ASCENDING, DESCENDING
    by_email = IndexModel([("email", up)], name="email", unique=True)
    # Sparse: any number of users may have no subject.
    subject = [("oidc.issuer", up), ("oidc.subject", up)]
    by_subject = IndexModel(subject, name="oidc", unique=True, sparse=True)
    await connection.create_indexes("users", [by_email, by_subject])
    by_hash = IndexModel([("hash", up)], name="hash", unique=True)
    await connection.create_indexes("api_keys", [by_hash, IndexModel([("user_id", up), ("_id", up)], name="user")])
    by_user = IndexModel([("user_id", up), ("ended_at", up)], name="user")
    await connection.create_indexes("sessions", [by_user, IndexModel([("expires_at", up)], name="expiry")])
    by_change = IndexModel([("user_id", up), ("position", down), ("title_folded", up)], name="change")
    await connection.create_indexes("conversations", [by_change])
    in_order = IndexModel([("conversation_id", up), ("sequence", up)], name="order", unique=True)
    streaming = IndexModel(
        [("status", up), ("updated_at", up)],
        name="streaming",
        partialFilterExpression={"status": "streaming"},
    )
    await connection.create_indexes("messages", [in_order, streaming])


async def _version_2(connection: Connection) -> None:
    ended = IndexModel([("expires_at", ASCENDING)], name="end", expireAfterSeconds=0)
    await connection.create_indexes("counters", [ended])
    by_user = IndexModel([("user_id", ASCENDING), ("day", ASCENDING)], name="user")
    await connection.create_indexes("usage", [by_user])


async def _version_3(connection: Connection) -> None:
    await connection.create_indexes("given_answers", [IndexModel([("first_at", ASCENDING)], name="age")])


async def _version_4(_connection: Connection) -> None:
    """Change nothing. Answers may have the status "failed", which older servers can't read."""


async def _version_5(_connection: Connection) -> None:
    """Change nothing. Keys say who made them and whose budgets they are charged to, which older servers would
    lose."""


async def _version_6(connection: Connection) -> None:
    about = IndexModel([("about", ASCENDING)], name="about", sparse=True)
    await connection.create_indexes("given_answers", [about])


async def _version_7(connection: Connection) -> None:
    by_time = IndexModel([("position", DESCENDING)], name="time")
    by_field = [
        IndexModel([(field, ASCENDING), ("position", DESCENDING)], name=field)
        for field in ("user_id", "actor", "act")
    ]
    await connection.create_indexes("audit", [by_time, *by_field])
    by_change = IndexModel([("kind", ASCENDING), ("at", DESCENDING)], name="change")
    await connection.create_indexes("audit_marks", [by_change])


async def _version_8(connection: Connection) -> None:
    """Count what each user stores, and the bytes of each conversation's messages."""
    messages = Collection(connection, "messages", MessageRecord)
    conversations = Collection(connection, "conversations", ConversationRecord)
    held: dict[str, Amounts] = {}
    async for conversation in conversations.each({}):
        size = 0
        async for message in messages.each({"conversation_id": conversation.id}):
            size += size_of(message)
        await conversations.update_one({"_id": conversation.id}, {"$set": {"message_bytes": size}})
        counted = amounts_of(msgspec.structs.replace(conversation, message_bytes=size))
        held[conversation.user_id] = held.get(conversation.user_id, Amounts()).plus(counted)
    async for key in Collection(connection, "api_keys", ApiKey).each({}):
        held[key.user_id] = held.get(key.user_id, Amounts()).plus(amounts_of_key(key))
    holdings = Collection(connection, "holdings", HoldingsDocument)
    for user_id, amounts in held.items():
        with suppress(Conflict):  # another server counted before, and may count new requests already
            await holdings.insert(HoldingsDocument.made_of(user_id, amounts))


async def _version_9(_connection: Connection) -> None:
    """Change nothing. Messages may have reasoning, and what a response was asked for, which older servers would
    lose."""


async def _version_10(connection: Connection) -> None:
    """Index the marks of users who are deleted, and whose answers are kept."""
    deleted = IndexModel([("deleted_at", ASCENDING), ("_id", ASCENDING)], name="deleted")
    await connection.create_indexes("users", [deleted])
    by_user = IndexModel([("user_id", ASCENDING)], name="user", sparse=True)
    await connection.create_indexes("given_answers", [by_user])


async def _version_11(connection: Connection) -> None:
    """Index the chat completions that were asked for with ``store``, by their user."""
    by_user = IndexModel([("completion_of", ASCENDING), ("_id", ASCENDING)], name="completions")
    await connection.create_indexes("messages", [by_user])


async def _version_12(connection: Connection) -> None:
    """Index the open sessions of a user. Sessions have a kind, a device and a key, which older servers would
    lose."""
    by_user = IndexModel([("user_id", ASCENDING), ("ended_at", ASCENDING), ("_id", ASCENDING)], name="open")
    await connection.create_indexes("sessions", [by_user])


async def _version_13(connection: Connection) -> None:
    """Index the answers that are made in the background."""
    fields = ("user_id", "conversation_id", "holder", "held_until")
    indexes = [IndexModel([(field, ASCENDING), ("_id", ASCENDING)], name=field) for field in fields]
    await connection.create_indexes("queued_answers", indexes)


async def _version_14(connection: Connection) -> None:
    """Give each message items, in place of its content, reasoning and calls; count the bytes of conversations
    anew."""
    messages = Collection(connection, "messages", MessageRecord)
    async for message in messages.each({"items": {"$exists": False}}):
        # One that was changed meanwhile has items.
        await messages.update_one({"_id": message.id, "items": {"$exists": False}}, said(message))
    conversations = Collection(connection, "conversations", ConversationRecord)
    holdings = MongoHoldings(connection, Quota())
    async for conversation in conversations.each({}):
        size = 0
        async for message in messages.each({"conversation_id": conversation.id}):
            size += size_of(message)
        unchanged = {"_id": conversation.id, "message_bytes": conversation.message_bytes}
        more = size - conversation.message_bytes
        # Another server counted it, or somebody writes to it: the difference is small, and stays.
        if more and await conversations.update_one(unchanged, {"$set": {"message_bytes": size}}):
            await holdings.change(conversation.user_id, Amounts(bytes=more))


async def _version_15(connection: Connection) -> None:
    """Index the conversations that were made for responses which named none."""
    by_change = IndexModel(
        [("unnamed", ASCENDING), ("position", ASCENDING)],
        name="unnamed",
        partialFilterExpression={"unnamed": True},
    )
    await connection.create_indexes("conversations", [by_change])


async def _version_16(connection: Connection) -> None:
    """Index the origins of conversations of other applications, which are imported once for each user."""
    by_origin = IndexModel([("origin_key", ASCENDING)], name="origin", unique=True, sparse=True)
    await connection.create_indexes("conversations", [by_origin])


async def _version_17(connection: Connection) -> None:
    """Index the texts of messages, in the background, and compare titles without accents."""
    by_text = IndexModel([("searched_by", ASCENDING), ("grams", ASCENDING), ("_id", ASCENDING)], name="text")
    waiting = IndexModel(
        [(UNSEARCHED, ASCENDING), ("_id", ASCENDING)],
        name=UNSEARCHED,
        partialFilterExpression={UNSEARCHED: True},
    )
    await connection.create_indexes("messages", [by_text, waiting])
    messages = Collection(connection, "messages", MessageRecord)
    old = {"searched_by": {"$exists": False}, "status": {"$ne": "streaming"}}
    await messages.update_many(old, {"$set": {UNSEARCHED: True}})
    conversations = Collection(connection, "conversations", ConversationRecord)
    async for conversation in conversations.each({}):
        unchanged = {"_id": conversation.id, "title": conversation.title}
        await conversations.update_one(unchanged, {"$set": {"title_folded": fold(conversation.title)}})


async def _version_18(connection: Connection) -> None:
    """Index conversations that are pinned, archived, and in folders."""
    indexes = [
        IndexModel([("user_id", ASCENDING), (field, ASCENDING), ("position", DESCENDING)], name=field)
        for field in ("pinned", "archived", "folder")
    ]
    await connection.create_indexes("conversations", indexes)


async def _version_19(connection: Connection) -> None:
    """Index the conversations that are shared by links."""
    fields = ("user_id", "conversation_id", "expires_at")
    indexes = [IndexModel([(field, ASCENDING), ("_id", ASCENDING)], name=field) for field in fields]
    by_hash = IndexModel([("hash", ASCENDING)], name="hash", unique=True)
    await connection.create_indexes("shares", [by_hash, *indexes])


async def _version_20(connection: Connection) -> None:
    """Index presets by their users, names, and which one is the default."""
    by_user = IndexModel([("user_id", ASCENDING), ("_id", ASCENDING)], name="user")
    by_name = IndexModel([("name_key", ASCENDING)], name="name", unique=True)
    default = IndexModel([("default_key", ASCENDING)], name="default", unique=True, sparse=True)
    await connection.create_indexes("presets", [by_user, by_name, default])


MIGRATIONS: tuple[Callable[[Connection], Awaitable[None]], ...] = (
    _version_1,
    _version_2,
    _version_3,
    _version_4,
    _version_5,
    _version_6,
    _version_7,
    _version_8,
    _version_9,
    _version_10,
    _version_11,
    _version_12,
    _version_13,
    _version_14,
    _version_15,
    _version_16,
    _version_17,
    _version_18,
    _version_19,
    _version_20,
)


async def migrate(connection: Connection) -> None:
    """Bring the schema up to date. Raises ConfigurationError if a newer version wrote the database."""
    versions = Collection(connection, "schema", SchemaVersion)
    found = await versions.find_one({"_id": "schema"})
    done = found.version if found else 0
    if done > len(MIGRATIONS):
        raise ConfigurationError(
            f"storage.url: The database has schema version {done}, written by a newer Jan Server."
            f" This one knows versions up to {len(MIGRATIONS)}."
        )
    for version, step in enumerate(MIGRATIONS[done:], start=done + 1):
        await step(connection)
        await _record(versions, version)


async def _record(versions: Collection[SchemaVersion], version: int) -> None:
    if await versions.update_one({"_id": "schema"}, {"$max": {"version": version}}):
        return
    try:
        await versions.insert(SchemaVersion(version=version))
    except Conflict:  # another server wrote it meanwhile
        await versions.update_one({"_id": "schema"}, {"$max": {"version": version}})
