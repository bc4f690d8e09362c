"""The only file that uses the driver. To replace Motor by PyMongo's AsyncMongoClient, change this file."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from motor.core import AgnosticBaseCursor
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection
from pymongo import IndexModel, ReturnDocument, UpdateOne, WriteConcern
from pymongo.errors import ConfigurationError as DriverConfigurationError
from pymongo.errors import InvalidName, InvalidURI

from jan.errors import ConfigurationError
from jan.storage.mongo.documents import Document, decode, encode
from jan.storage.mongo.failures import DRIVER_ERRORS, translate, unavailable
from jan.storage.records import Record
from jan.tasks import apart

R = TypeVar("R", bound=Record)
C = TypeVar("C", bound="AgnosticBaseCursor[Document]")

Filter = Mapping[str, Any]
Sort = Sequence[tuple[str, int]]
_DEFAULT_DATABASE = "jan"
_ALL: Filter = MappingProxyType({})


class Connection:
    """A connection to the server in the URL, closed until ``connect``."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._client: AsyncIOMotorClient[Document] | None = None

    def connect(self) -> None:
        """Make the client. The driver connects and reconnects in the background. Raises ConfigurationError."""
        if self._client is not None:
            return
        try:
            self._client = AsyncIOMotorClient(self._url, **self._options())
            self._client.get_default_database(_DEFAULT_DATABASE)
        except (DriverConfigurationError, InvalidURI, InvalidName, ValueError, TypeError) as error:
            # The driver may repeat a part of the URL, and with it a part of the password.
            detail = f": {error}" if "@" not in self._url else "; user and password must be percent-encoded"
            raise ConfigurationError(f"storage.url: Not a usable MongoDB URL{detail}.") from None

    async def close(self) -> None:
        """Close the client and forget it."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def ping(self) -> None:
        """Return if the server answers a command. Raises Unavailable otherwise."""
        if self._client is None:
            raise unavailable()
        with _translated():
            await self._client.get_default_database(_DEFAULT_DATABASE).command("ping")

    async def create_indexes(self, name: str, indexes: Sequence[IndexModel]) -> None:
        """Create the indexes that are missing."""
        with _translated():
            await self.raw(name).create_indexes(list(indexes))

    def raw(self, name: str) -> AsyncIOMotorCollection[Document]:
        """Return the driver's collection of this name. Raises Unavailable while not connected."""
        if self._client is None:
            raise unavailable()
        return self._client.get_default_database(_DEFAULT_DATABASE)[name]

    def _options(self) -> dict[str, Any]:
        """Return the options that durability requires, and time limits in milliseconds unless the URL sets
        them."""
        wait = int(self._timeout * 1000)
        limits = {"serverSelectionTimeoutMS": wait, "connectTimeoutMS": wait, "timeoutMS": 2 * wait}
        lacking = {name: value for name, value in limits.items() if name.lower() not in self._url.lower()}
        return {"tz_aware": True, "w": "majority", "journal": True, "appname": "jan-server", **lacking}


class Collection(Generic[R]):
    """One kind of record in one collection: takes and returns records, and raises Jan's errors.

    Without ``durable`` a write returns as soon as one server has it in memory. Fields that are ``unread`` serve an
    index, and are not sent with the records.
    """

    def __init__(
        self, connection: Connection, name: str, kind: type[R], *, durable: bool = True, unread: Sequence[str] = ()
    ) -> None:
        self._connection = connection
        self._name = name
        self._concern = None if durable else WriteConcern(w=1, j=False)
        self.kind = kind
        self._fields = dict.fromkeys(unread, 0) or None

    async def insert(self, *records: R) -> None:
        """Add records in order. Raises Conflict at the first whose unique values are taken."""
        documents = await apart(len(records), lambda: [encode(record) for record in records])
        with _translated():
            if len(documents) == 1:
                await self._raw.insert_one(documents[0])
            elif documents:
                await self._raw.insert_many(documents)

    async def find_one(self, where: Filter, *, sort: Sort | None = None) -> R | None:
        """Return the first matching record, or None."""
        with _translated():
            document = await self._raw.find_one(where, self._fields, sort=sort)
        return None if document is None else decode(document, self.kind)

    async def find(self, where: Filter, *, sort: Sort, limit: int) -> list[R]:
        """Return at most ``limit`` records in order; 0 means all."""
        with _translated():
            documents = await self._raw.find(where, self._fields).sort(sort).limit(limit).to_list(limit or None)
        return [decode(document, self.kind) for document in documents]

    async def find_within(self, where: Filter, *, sort: Sort, limit: int, admits: Callable[[R], bool]) -> list[R]:
        """Return at most ``limit`` records in order, up to the first that ``admits`` refuses.

        The driver holds no more than one batch at a time, which is at most 16 MB.
        """
        found: list[R] = []
        with _translated():
            async with _closing(self._raw.find(where, self._fields).sort(sort).limit(limit)) as cursor:
                async for document in cursor:
                    record = decode(document, self.kind)
                    if not admits(record):
                        break
                    found.append(record)
        return found

    async def look_through(
        self, first: Filter, then: Filter, *, sort: Sort, looks_on: Callable[[R], bool]
    ) -> None:
        """Look at the records that match two filters, in order, until ``looks_on`` has enough of them.

        The first filter is the range of an index, whatever the server makes of the second.
        """
        steps: list[Document] = [{"$match": first}, {"$match": then}, {"$sort": dict(sort)}]
        if self._fields is not None:
            steps.append({"$project": self._fields})
        with _translated():
            async with _closing(self._raw.aggregate(steps)) as cursor:
                async for document in cursor:
                    if not looks_on(decode(document, self.kind)):
                        break

    async def values(self, field: str, *, after: str, limit: int) -> list[str]:
        """Return the values of a text field above ``after``, in order, of at most ``limit`` records."""
        only = {field: 1, "_id": 0}
        with _translated():
            found = self._raw.find({field: {"$gt": after}}, only).sort([(field, 1)]).limit(limit)
            return [document[field] for document in await found.to_list(limit)]

    async def count_each(self, field: str, where: Filter, limit: int) -> list[tuple[str, int]]:
        """Count the records that match by their values of a text field; return at most ``limit``, in order."""
        steps: list[Filter] = [
            {"$match": where},
            {"$group": {"_id": f"${field}", "count": {"$sum": 1}}},
            {"$sort": {"_id": 1}},
            {"$limit": limit},
        ]
        with _translated():
            found = await self._raw.aggregate(steps).to_list(limit)
        return [(document["_id"], document["count"]) for document in found]

    async def each(self, where: Filter) -> AsyncIterator[R]:
        """Yield all matching records, in any order."""
        with _translated():
            async with _closing(self._raw.find(where)) as cursor:
                async for document in cursor:
                    yield decode(document, self.kind)

    async def update_one(self, where: Filter, change: Mapping[str, Any]) -> bool:
        """Change one record with update operators; False if none matches."""
        with _translated():
            result = await self._raw.update_one(where, change)
        return result.matched_count > 0

    async def update_each(self, changes: Sequence[tuple[Filter, Mapping[str, Any]]]) -> None:
        """Change one record by each filter with update operators, in any order, in one command."""
        with _translated():
            if changes:
                await self._raw.bulk_write([UpdateOne(*change) for change in changes], ordered=False)

    async def change_one(self, where: Filter, change: Mapping[str, Any]) -> R | None:
        """Change one record with update operators and return the changed record; None if none matches."""
        with _translated():
            document = await self._raw.find_one_and_update(where, change, return_document=ReturnDocument.AFTER)
        return None if document is None else decode(document, self.kind)

    async def update_many(self, where: Filter, change: Mapping[str, Any]) -> int:
        """Change every record that matches; return their number."""
        with _translated():
            result = await self._raw.update_many(where, change)
        return result.matched_count

    async def has(self, record_id: str) -> bool:
        """Return True if there is a record with this id."""
        return await self.find_one({"_id": record_id}) is not None

    async def take(self, where: Filter) -> R | None:
        """Remove one record and return it; None if none matches."""
        with _translated():
            document = await self._raw.find_one_and_delete(where)
        return None if document is None else decode(document, self.kind)

    async def delete(self, where: Filter) -> int:
        """Remove every record that matches; return their number."""
        with _translated():
            result = await self._raw.delete_many(where)
        return result.deleted_count

    async def count(self, where: Filter = _ALL) -> int:
        """Count the records that match, by default all."""
        with _translated():
            return await self._raw.count_documents(where)

    @property
    def _raw(self) -> AsyncIOMotorCollection[Document]:
        raw = self._connection.raw(self._name)
        return raw if self._concern is None else raw.with_options(write_concern=self._concern)


@asynccontextmanager
async def _closing(cursor: C) -> AsyncIterator[C]:
    """Close the cursor even if it was not read to its end, so that the server forgets it."""
    try:
        yield cursor
    finally:
        await cursor.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DRIVER_ERRORS as error:
        raise translate(error) from error
