"""The audit on either store: what is done to its entries behind the server's back is found, whatever it is."""

import asyncio
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from support.mongodb import mongo_client

from jan.audit import chain_writer, trail
from jan.audit.acts import Actor, acting
from jan.audit.sealing import Head, Seals, parse_head
from jan.audit.trail import AuditTrail
from jan.audit.verification import Broken
from jan.errors import InvalidRequest, Unavailable
from jan.storage import Store
from jan.storage.audit import AuditEntry, AuditFilter, entry_id, mark_id
from jan.storage.records import now

KEYS = {"key_a": b"a" * 32, "key_b": b"b" * 32}


def seals(kid: str = "key_a", *gone: str) -> Seals:
    """Seals with a key, of a server that has all keys but those that are gone."""
    return Seals(lambda: kid, lambda name, _purpose: None if name in gone else KEYS.get(name))


async def written(store: Store, *targets: str, kid: str = "key_a") -> str:
    """Write a chain of one entry for each target; return its id."""
    audit = AuditTrail(store, seals(kid))
    for target in targets:
        await audit.record("key.made", user_id="user_1", target=target)
    await audit.close()
    return (await store.audit.heads(1))[0].chain


async def broken(store: Store, *heads: Head) -> str:
    """The id of the first broken record."""
    with pytest.raises(Broken) as found:
        await AuditTrail(store, seals()).verify(heads)
    return found.value.record_id


class Raw:
    """The database without the store: tables of documents by id."""

    def __init__(self, url: str) -> None:
        self._file = url.removeprefix("sqlite:///") if url.startswith("sqlite:") else None
        self._url = url

    def get(self, table: str, record_id: str) -> dict[str, Any]:
        if self._file is None:
            with mongo_client(self._url) as client:
                found = client.get_default_database()[table].find_one({"_id": record_id})
                assert found is not None
                return found
        with sqlite3.connect(self._file) as db:
            [doc] = db.execute(f"SELECT doc FROM {table} WHERE id = ?", (record_id,)).fetchone()
        document: dict[str, Any] = msgspec.json.decode(doc)
        return document

    def remove(self, table: str, record_id: str) -> None:
        if self._file is None:
            with mongo_client(self._url) as client:
                client.get_default_database()[table].delete_one({"_id": record_id})
            return
        with sqlite3.connect(self._file) as db:
            db.execute(f"DELETE FROM {table} WHERE id = ?", (record_id,))

    def put(self, table: str, record_id: str, document: dict[str, Any]) -> None:
        """Put a document into the place of this id, which may be a new one."""
        if self._file is None:
            with mongo_client(self._url) as client:
                document = {**document, "_id": record_id}
                client.get_default_database()[table].replace_one({"_id": record_id}, document, upsert=True)
            return
        named = {"audit": "position, act", "audit_marks": "kind, at"}[table]
        with sqlite3.connect(self._file) as db:
            doc = msgspec.json.encode(document).decode()
            db.execute(f"DELETE FROM {table} WHERE id = ?", (record_id,))
            db.execute(f"INSERT INTO {table} (id, doc, {named}) VALUES (?, ?, '0', 'head')", (record_id, doc))

    def refile(self, record_id: str) -> None:
        """Change where lists show an entry, but nothing of the entry."""
        if self._file is None:
            with mongo_client(self._url) as client:
                change = {"$set": {"position": "0"}}
                client.get_default_database()["audit"].update_one({"_id": record_id}, change)
            return
        with sqlite3.connect(self._file) as db:
            db.execute("UPDATE audit SET user_id = 'user_2' WHERE id = ?", (record_id,))


@pytest.fixture
def raw(url: str, store: Store) -> Raw:
    return Raw(url)


async def test_entries_come_back_as_they_were_written(store: Store) -> None:
    """A chain begins with an entry of its own. Entries are listed newest first, in pages, and by their fields."""
    chain = await written(store, "key_1", "key_2", "key_3")
    whole = await AuditTrail(store, seals()).verify()
    assert (whole.entries, whole.chains) == (4, 1)
    page = await store.audit.page(limit=2)
    assert [entry.target for entry in page.items] == ["key_3", "key_2"]
    assert page.items[0].id == entry_id(chain, 4)
    rest = await store.audit.page(limit=2, cursor=page.next_cursor)
    assert [entry.act for entry in rest.items] == ["key.made", "chain.began"]
    assert rest.next_cursor is None
    assert len((await store.audit.page(limit=9, wanted=AuditFilter(user_id="user_1"))).items) == 3
    assert (await store.audit.page(limit=9, wanted=AuditFilter(user_id="user_2"))).items == []
    for wanted in (AuditFilter(act="chain.began"), AuditFilter(act="key.made", actor="server", user_id="user_1")):
        found = (await store.audit.page(limit=9, wanted=wanted)).items
        assert {entry.act for entry in found} == {wanted.act}
    with pytest.raises(InvalidRequest):
        await store.audit.page(limit=2, cursor="nonsense")


async def test_writing_again_adds_nothing(store: Store) -> None:
    """A batch whose answer was lost is stored once; an older head never replaces a newer one."""
    chain = await written(store, "key_1", "key_2")
    entries = await store.audit.follow(chain, after=0, limit=9)
    [head] = await store.audit.marks(chain)
    await store.audit.append(entries[1:], head)
    await store.audit.append([], seals().mark(chain, "head", 1, entries[0].seal, now()))
    assert await store.audit.follow(chain, after=0, limit=9) == entries
    assert await store.audit.marks(chain) == [head]


def changed(raw: Raw, chain: str) -> str:
    document = raw.get("audit", entry_id(chain, 2))
    raw.put("audit", entry_id(chain, 2), {**document, "target": "key_0"})
    return entry_id(chain, 2)


def other_time(raw: Raw, chain: str) -> str:
    later = raw.get("audit", entry_id(chain, 5))["at"]
    raw.put("audit", entry_id(chain, 3), {**raw.get("audit", entry_id(chain, 3)), "at": later, "count": 7})
    return entry_id(chain, 3)


def removed(raw: Raw, chain: str) -> str:
    raw.remove("audit", entry_id(chain, 3))
    return entry_id(chain, 3)


def first_removed(raw: Raw, chain: str) -> str:
    raw.remove("audit", entry_id(chain, 1))
    return entry_id(chain, 1)


def tail_removed(raw: Raw, chain: str) -> str:
    for sequence in (4, 5):
        raw.remove("audit", entry_id(chain, sequence))
    return entry_id(chain, 4)


def all_removed(raw: Raw, chain: str) -> str:
    for sequence in range(1, 6):
        raw.remove("audit", entry_id(chain, sequence))
    return entry_id(chain, 1)


def swapped(raw: Raw, chain: str) -> str:
    third, fourth = (raw.get("audit", entry_id(chain, sequence)) for sequence in (3, 4))
    raw.put("audit", entry_id(chain, 3), fourth)
    raw.put("audit", entry_id(chain, 4), third)
    return entry_id(chain, 3)


def repeated(raw: Raw, chain: str) -> str:
    # One store keeps the id in the document, the other beside it.
    raw.put("audit", entry_id(chain, 5) + "0", raw.get("audit", entry_id(chain, 2)))
    return entry_id(chain, 0)[:-2]


def forged(raw: Raw, chain: str) -> str:
    last = raw.get("audit", entry_id(chain, 5))
    next_id = entry_id(chain, 6)
    raw.put("audit", next_id, {**last, "id": next_id, "sequence": 6, "previous": last["seal"]})
    return next_id


def of_another_key(raw: Raw, chain: str) -> str:
    raw.put("audit", entry_id(chain, 2), {**raw.get("audit", entry_id(chain, 2)), "kid": "key_z"})
    return entry_id(chain, 2)


def head_removed(raw: Raw, chain: str) -> str:
    raw.remove("audit_marks", mark_id(chain, "head"))
    return mark_id(chain, "head")


def head_set_back(raw: Raw, chain: str) -> str:
    tail_removed(raw, chain)
    head = raw.get("audit_marks", mark_id(chain, "head"))
    seal = raw.get("audit", entry_id(chain, 3))["seal"]
    raw.put("audit_marks", mark_id(chain, "head"), {**head, "sequence": 3, "seal": seal})
    return mark_id(chain, "head")


def cut_forged(raw: Raw, chain: str) -> str:
    head = raw.get("audit_marks", mark_id(chain, "head"))
    raw.put("audit_marks", mark_id(chain, "cut"), {**head, "id": mark_id(chain, "cut"), "kind": "cut"})
    all_removed(raw, chain)
    return mark_id(chain, "cut")


def hidden(raw: Raw, chain: str) -> str:
    raw.refile(entry_id(chain, 3))
    return entry_id(chain, 3)


def illegible(raw: Raw, chain: str) -> str:
    raw.put("audit", entry_id(chain, 3), {**raw.get("audit", entry_id(chain, 3)), "sequence": "x"})
    return f"The record after {entry_id(chain, 2)}"


@pytest.mark.parametrize(
    "tamper",
    [
        changed,
        other_time,
        removed,
        first_removed,
        tail_removed,
        all_removed,
        swapped,
        repeated,
        forged,
        of_another_key,
        head_removed,
        head_set_back,
        cut_forged,
        hidden,
        illegible,
    ],
    ids=lambda tamper: tamper.__name__,
)
async def test_tampering_is_found(store: Store, raw: Raw, tamper: Callable[[Raw, str], str]) -> None:
    """The first broken entry is named, whatever was done; a second chain beside it is of no matter."""
    chain = await written(store, "key_1", "key_2", "key_3", "key_4")
    await written(store, "key_5")
    assert (await AuditTrail(store, seals()).verify()).entries == 7
    first = tamper(raw, chain)
    assert (await broken(store)).startswith(first)


async def test_a_cut_tail_is_found_by_a_head(store: Store, raw: Raw) -> None:
    """Whoever sets the head back and removes what came after it is found by what the log says."""
    audit = AuditTrail(store, seals())
    await audit.record("key.made", target="key_1")
    chain = (await store.audit.heads(1))[0].chain
    old = raw.get("audit_marks", mark_id(chain, "head"))
    await audit.record("key.made", target="key_2")
    [logged] = (await audit.verify()).heads
    assert parse_head(str(logged)) == logged
    assert (await audit.verify([logged])).entries == 3

    raw.remove("audit", entry_id(chain, 3))
    raw.put("audit_marks", mark_id(chain, "head"), old)
    assert (await AuditTrail(store, seals()).verify()).entries == 2
    assert await broken(store, logged) == entry_id(chain, 3)
    elsewhere = Head(chain, 2, "0" * 64)
    assert await broken(store, elsewhere) == entry_id(chain, 2)


async def test_a_chain_names_those_before_it(store: Store, raw: Raw) -> None:
    """A chain that is removed whole, with its head, is missed by the chain that began after it."""
    chain = await written(store, "key_1")
    await written(store, "key_2")
    for sequence in (1, 2):
        raw.remove("audit", entry_id(chain, sequence))
    raw.remove("audit_marks", mark_id(chain, "head"))
    assert await broken(store) == entry_id(chain, 2)


async def test_processes_write_beside_each_other(store: Store, second_store: Store) -> None:
    """Two processes have a chain each, with every entry of theirs in it."""
    pair = [AuditTrail(store, seals()), AuditTrail(second_store, seals())]
    await asyncio.gather(*(audit.record("key.made", target=f"key_{i}") for i in range(20) for audit in pair))
    for audit in pair:
        await audit.close()
    whole = await pair[0].verify()
    assert (whole.entries, whole.chains) == (42, 2)
    assert [head.sequence for head in whole.heads] == [21, 21]


async def test_keys_are_rotated_and_retired(store: Store) -> None:
    """What an older key sealed verifies as long as the key is there, and is named when it is gone."""
    old, new = await written(store, "key_1"), await written(store, "key_2", kid="key_b")
    assert (await AuditTrail(store, seals("key_b")).verify()).entries == 4
    with pytest.raises(Broken, match="'key_a', which is not in the data folder") as found:
        await AuditTrail(store, seals("key_b", "key_a")).verify()
    assert found.value.record_id == mark_id(old, "head")
    assert new != old


async def aged(store: Store, days: float, *targets: str) -> str:
    """A chain whose entries are that old."""
    sealed, chain, seal = seals(), f"chain_{int(1000 - days):012x}", ""
    entries: list[AuditEntry] = []
    for sequence, target in enumerate(targets, start=1):
        entry = AuditEntry(
            id=entry_id(chain, sequence),
            chain=chain,
            sequence=sequence,
            at=now() - timedelta(days=days),
            act="key.made",
            target=target,
            kid="",
            previous=seal,
        )
        entries.append(sealed.entry(entry))
        seal = entries[-1].seal
    await store.audit.append(entries, sealed.mark(chain, "head", len(entries), seal, now()))
    return chain


async def test_old_entries_are_cut_and_the_rest_verifies(store: Store, raw: Raw) -> None:
    """Entries beyond their days go, whole chains too; a cut is an entry itself, and what is left can't be cut
    further by anybody else."""
    gone = await aged(store, 20, "key_1", "key_2")
    kept = await aged(store, 5, "key_3", "key_4", "key_5")
    audit = AuditTrail(store, seals(), keep_days=10)
    await audit.tidy()
    await audit.tidy()
    await audit.close()
    assert await store.audit.follow(gone, after=0, limit=9) == []
    assert len(await store.audit.follow(kept, after=0, limit=9)) == 3
    [cut] = (await store.audit.page(limit=9, wanted=AuditFilter(act="audit.cut"))).items
    assert (cut.target, cut.details) == (gone, {"entries": "2"})
    assert (await audit.verify()).entries == 5

    later = AuditTrail(store, seals(), keep_days=3)
    await later.tidy()
    await later.close()
    assert (await later.verify()).chains == 4
    assert await store.audit.follow(kept, after=0, limit=9) == []
    # What an interrupted cut left behind is no break; what somebody puts there is.
    sequence_3 = seals().mark(kept, "cut", 3, "", now())
    raw.put("audit", entry_id(kept, 3), {**msgspec.to_builtins(sequence_3), "id": entry_id(kept, 3)})
    assert (await broken(store)).startswith("The record after")


async def test_a_chain_is_cut_up_to_its_first_recent_entry(store: Store) -> None:
    """The part of a living chain that is too old goes, and its process writes on."""
    audit = AuditTrail(store, seals(), keep_days=1)
    await audit.record("key.made", target="key_1")
    chain = (await store.audit.heads(1))[0].chain
    [began, first] = await store.audit.follow(chain, after=0, limit=9)
    await store.audit.cut(seals().mark(chain, "cut", began.sequence, began.seal, now()))
    await audit.record("key.made", target="key_2")
    assert [entry.sequence for entry in await store.audit.follow(chain, after=0, limit=9)] == [2, 3]
    assert (await audit.verify()).entries == 2
    assert await store.audit.cut(seals().mark(chain, "cut", 0, "", now())) == 0
    marks = {mark.kind: mark.sequence for mark in await store.audit.marks(chain)}
    assert marks == {"head": 3, "cut": 1}
    assert first.previous == began.seal


async def test_a_broken_chain_is_not_cut(store: Store, raw: Raw) -> None:
    """Its old entries stay, because nothing would show what was done to them."""
    chain = await aged(store, 20, "key_1", "key_2", "key_3")
    changed(raw, chain)
    audit = AuditTrail(store, seals(), keep_days=10)
    await audit.tidy()
    await audit.close()
    assert len(await store.audit.follow(chain, after=0, limit=9)) == 3
    assert await broken(store) == entry_id(chain, 2)


class Outage:
    """An audit log that is away at will, around one that is there."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self.away = False

    def __getattr__(self, name: str) -> Any:
        if self.away:
            raise Unavailable("The store is away.")
        return getattr(self._log, name)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_writer, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(chain_writer, "MOST_WAITING", 3)


@pytest.mark.usefixtures("impatient")
async def test_entries_wait_for_the_store(store: Store) -> None:
    """Nobody is told of a change whose entry is not stored; it is stored once the store is back, and what did not
    fit is counted in an entry."""
    audit = AuditTrail(store, seals())
    outage = audit._writer._store = Outage(store.audit)
    outage.away = True
    with pytest.raises(Unavailable):
        await audit.record("key.made", target="key_1")
    for number in range(5):
        audit.note("user.signed_in", target=f"sess_{number}")
    with pytest.raises(Unavailable):
        await audit.record("key.made", target="key_2")
    outage.away = False
    await audit.close()
    entries = (await store.audit.page(limit=9)).items[::-1]
    assert {entry.target for entry in entries} == {None, "key_1", "sess_0", "sess_1"}
    [lost] = [entry for entry in entries if entry.act == "audit.lost"]
    assert lost.count == 3
    assert (await audit.verify()).entries == 5


async def test_a_flood_of_refusals_is_one_entry(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of one address in a minute are counted; those of very many addresses are counted together."""
    monkeypatch.setattr(trail, "_MINUTE_SECONDS", 0.01)
    audit = AuditTrail(store, seals(), shown=lambda address: f"<{address}>")
    for _ in range(500):
        audit.refused("request.refused", "10.0.0.1", Actor(address="10.0.0.1"), "invalid_api_key")
    audit.refused("request.refused", "10.0.0.1", Actor("user_1", "key_1", "10.0.0.1"), "permission_denied")
    audit.refused("request.refused", "10.0.0.2", Actor("user_2", "key_2", "10.0.0.2"), "permission_denied")
    while not (found := (await store.audit.page(limit=9, wanted=AuditFilter(act="request.refused"))).items):
        await asyncio.sleep(0.01)
    assert {(entry.address, entry.count, entry.actor, entry.credential) for entry in found} == {
        ("<10.0.0.1>", 501, None, None),
        ("<10.0.0.2>", 1, "user_2", "key_2"),
    }
    for number in range(3000):
        client = f"10.1.{number >> 8}.{number & 255}"
        audit.refused("request.refused", client, Actor(address=client), f"code_{number}")
    await audit.close()
    page = await store.audit.page(limit=1500, wanted=AuditFilter(act="request.refused"))
    [others] = [entry for entry in page.items if entry.address == "others"]
    assert others.count == 2000
    assert len(page.items) == 1003
    assert len(others.details) <= 8


async def test_the_actor_is_whoever_acts(store: Store) -> None:
    """Entries name who acts in the task, and no one else's."""
    audit = AuditTrail(store, seals())

    async def act(actor: Actor) -> None:
        acting.set(actor)
        await audit.record("key.made", target=actor.id)

    await asyncio.gather(*(act(Actor(f"user_{i}", f"key_{i}", f"10.0.0.{i}")) for i in range(5)))
    await audit.close()
    for entry in (await store.audit.page(limit=9, wanted=AuditFilter(act="key.made"))).items:
        assert entry.actor == entry.target
        assert entry.credential == str(entry.actor).replace("user", "key")


async def test_marks_belong_to_their_chain(store: Store, raw: Raw) -> None:
    """A genuine head of another chain proves nothing."""
    chain, other = await written(store, "key_1"), await written(store, "key_2")
    document = raw.get("audit_marks", mark_id(other, "head"))
    raw.put("audit_marks", mark_id(chain, "head"), document)
    assert (await broken(store)).endswith(".head")
