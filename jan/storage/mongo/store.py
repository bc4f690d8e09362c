"""The store on MongoDB: all repositories on one connection."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, cast

from jan.errors import JanError
from jan.schema.limits import UNLIMITED, Quota
from jan.storage.mongo.accounting import MongoCounters, MongoUsageLog
from jan.storage.mongo.audit import MongoAuditLog
from jan.storage.mongo.client import Collection, Connection
from jan.storage.mongo.completion_records import MongoCompletions
from jan.storage.mongo.conversations import MongoConversations
from jan.storage.mongo.deletions import MongoDeletions
from jan.storage.mongo.folder_counts import MongoFolders
from jan.storage.mongo.holdings import MongoHoldings
from jan.storage.mongo.idempotent_answers import MongoIdempotentAnswers
from jan.storage.mongo.messages import MongoMessages
from jan.storage.mongo.migrations import SchemaVersion, migrate
from jan.storage.mongo.presets import MongoPresets
from jan.storage.mongo.queued_answers import MongoQueuedAnswers
from jan.storage.mongo.shares import MongoShares
from jan.storage.mongo.text_search import MongoTextSearch
from jan.storage.mongo.users import MongoKeys, MongoSessions, MongoUsers
from jan.storage.records import Record

R = TypeVar("R", bound=Record)

# The document beside the schema's version that marks an import under way.
_UNFINISHED = "import"


class MongoArchive:
    """Implements ``archive.Archive`` on MongoDB."""

    def __init__(self, connection: Connection, *collections: Collection[Any]) -> None:
        self._collections = collections
        self._marks = Collection(connection, "schema", SchemaVersion)

    async def count(self, kind: type[Record]) -> int:
        return await self._of(kind).count()

    async def scan(self, kind: type[R], *, after: str, limit: int) -> list[R]:
        return await self._of(kind).find({"_id": {"$gt": after}}, sort=[("_id", 1)], limit=limit)

    async def matching(self, kind: type[R], ids: Sequence[str]) -> list[R]:
        return await self._of(kind).find({"_id": {"$in": list(ids)}}, sort=[("_id", 1)], limit=len(ids))

    async def insert(self, kind: type[R], records: Sequence[R]) -> None:
        await self._of(kind).insert(*records)

    async def remove(self, kind: type[Record], record_id: str) -> bool:
        return await self._of(kind).delete({"_id": record_id}) > 0

    async def load(self, batches: Iterable[tuple[type[Record], Sequence[Record]]]) -> int:
        if not await self.unfinished():
            await self._marks.insert(SchemaVersion(id=_UNFINISHED, version=0))
        added = 0
        for kind, records in batches:
            present = {record.id for record in await self.matching(kind, [record.id for record in records])}
            lacking = [record for record in records if record.id not in present]
            await self.insert(kind, lacking)
            added += len(lacking)
        await self._marks.delete({"_id": _UNFINISHED})
        return added

    async def unfinished(self) -> bool:
        return await self._marks.find_one({"_id": _UNFINISHED}) is not None

    def _of(self, kind: type[R]) -> Collection[R]:
        found = next(collection for collection in self._collections if collection.kind is kind)
        return cast("Collection[R]", found)


class MongoStore:
    """Implements ``repositories.Store`` on a MongoDB server. The URL's path names the database; default ``jan``.

    Writes wait for a majority and its journals. The URL configures TLS, replica set, authentication and retryable
    writes. ``timeout`` is how many seconds to look for a server. A whole operation takes at most twice as long.
    Options of the same name in the URL take precedence.
    """

    def __init__(self, url: str, *, timeout: float = 5.0, quota: Quota = UNLIMITED) -> None:
        self._connection = Connection(url, timeout)
        self.holdings = MongoHoldings(self._connection, quota)
        self.users = MongoUsers(self._connection)
        self.keys = MongoKeys(self._connection, self.holdings)
        self.sessions = MongoSessions(self._connection)
        self.conversations = MongoConversations(self._connection, self.holdings)
        self.messages = MongoMessages(self._connection, self.conversations, self.holdings)
        self.folders = MongoFolders(self.conversations)
        self.completions = MongoCompletions(self.messages)
        self.shares = MongoShares(self._connection, self.conversations, self.holdings)
        self.queued_answers = MongoQueuedAnswers(self._connection, self.messages)
        self.presets = MongoPresets(self._connection, self.holdings)
        self.idempotent_answers = MongoIdempotentAnswers(self._connection)
        self.counters = MongoCounters(self._connection)
        self.usage = MongoUsageLog(self._connection)
        self.audit = MongoAuditLog(self._connection)
        self.deletions = MongoDeletions(
            self.users,
            self.conversations,
            self.holdings,
            self.keys.records,
            self.sessions.records,
            self.usage.records,
            self.presets.records,
            self.idempotent_answers.records,
            self.queued_answers.records,
            self.shares.records,
        )
        self.search = MongoTextSearch(self.messages, self.conversations)
        self.archive = MongoArchive(
            self._connection,
            self.users.records,
            self.keys.records,
            self.sessions.records,
            self.conversations.records,
            self.messages.records,
            self.queued_answers.records,
            self.shares.records,
            self.presets.records,
            self.usage.records,
            self.audit.records,
            self.audit.marked,
        )

    async def open(self) -> None:
        """Connect and migrate. On failure the store stays closed."""
        try:
            self._connection.connect()
            await migrate(self._connection)
        except JanError:
            await self._connection.close()
            raise

    async def close(self) -> None:
        """Close the connection; operations then raise Unavailable."""
        await self._connection.close()

    async def ping(self) -> None:
        """Ask the server for an answer. Raises Unavailable if there is none."""
        await self._connection.ping()
