"""Export and import: nothing lost on the way from any backend to any other."""

import asyncio
import io
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jan.audit.sealing import Seals
from jan.audit.trail import AuditTrail
from jan.errors import ConfigurationError, Conflict, InvalidRequest
from jan.people.assembly import make_keyring, make_people
from jan.people.store_keeper import StoreKeeper
from jan.schema.limits import KeyAccount
from jan.schema.presets import PresetOptions
from jan.schema.stored_items import items_made_of
from jan.settings import Settings
from jan.storage import Store
from jan.storage.accounting import UsageRecord
from jan.storage.audit import AuditEntry, AuditMark
from jan.storage.preset_records import PresetChanges, PresetRecord
from jan.storage.queued_answers import QueuedAnswer, QueueRoom
from jan.storage.records import (
    ApiKey,
    ConversationRecord,
    MessageRecord,
    OidcSubject,
    Record,
    TokenUsage,
    User,
    now,
)
from jan.storage.session_records import RefreshSession
from jan.storage.share_records import ShareRecord
from jan.storage.transfer import export_store, import_store

pytestmark = pytest.mark.slow

KINDS: tuple[type[Record], ...] = (
    User,
    ApiKey,
    RefreshSession,
    ConversationRecord,
    MessageRecord,
    QueuedAnswer,
    ShareRecord,
    PresetRecord,
    UsageRecord,
    AuditMark,
    AuditEntry,
)

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)


async def fill(store: Store) -> None:
    """Some of everything; one conversation longer than a batch, with a branch."""
    user = User(email="a@example.com", name="Ä", role="admin", oidc=OidcSubject("i", "s"), valid_after=now())
    await store.users.create(user)
    await store.users.create(User(email="b@example.com", disabled=True))
    key = ApiKey(user_id=user.id, name="k", prefix="p", hash="h", permissions=("read",), last_used_at=now())
    key = msgspec.structs.replace(
        key, created_by="key_1", charged_to=(KeyAccount(id=key.id), KeyAccount(id="key_1"))
    )
    await store.keys.create(key)
    session = RefreshSession(user_id=user.id, current_jti="j", expires_at=now() + timedelta(days=1))
    await store.sessions.start(session)
    queued = QueuedAnswer(id="msg_1", user_id=user.id, conversation_id="conv_1", api="a", request={"a.b": 1})
    await store.queued_answers.add(queued, QueueRoom(all_users=1, each_user=1))
    for name in ("Exact", "Lively"):
        options = PresetOptions(temperature=0.5, seed=2**62)
        preset = PresetRecord(user_id=user.id, name=name, system_prompt="$a.b \u0000", options=options)
        await store.presets.create(preset)
    await store.presets.update(user.id, preset.id, PresetChanges(default=True))
    for day in (1, 2):
        await store.usage.add(UsageRecord(user_id=user.id, key_id=key.id, model="m", day=date(2026, 5, day)))
    audit = AuditTrail(store, Seals(lambda: "key", lambda _kid, _purpose: bytes(32)))
    await asyncio.gather(*(audit.record("key.made", target=key.id, number=str(i)) for i in range(3)))
    await audit.close()
    for count in (0, 3, 450):
        conversation = ConversationRecord(user_id=user.id, title=str(count), metadata={"a.b": "c"}, model="m")
        await store.conversations.create(conversation)
        appends = [
            MessageRecord(
                conversation_id=conversation.id,
                role="assistant",
                items=items_made_of([{"type": "text", "text": f"{i} \u0000\u2028\U0001f600", "$n": 2**53 + 1}]),
                status="partial",
                usage=TokenUsage(prompt_tokens=1, completion_tokens=2),
            )
            for i in range(count)
        ]
        await asyncio.gather(*(store.messages.append(user.id, message, at_head=True) for message in appends))
        if appends:
            branch = MessageRecord(
                conversation_id=conversation.id, role="user", items=items_made_of("x"), parent_id=appends[0].id
            )
            await store.messages.append(user.id, branch)
            end = now() + timedelta(days=1)
            share = ShareRecord(
                user_id=user.id, conversation_id=conversation.id, hash=str(count), title="t", expires_at=end
            )
            await store.shares.create(share)


async def everything(store: Store) -> list[list[Record]]:
    return [await store.archive.scan(kind, after="", limit=10_000) for kind in KINDS]


async def exported(store: Store, path: Path) -> Path:
    out = io.BytesIO()
    await export_store(store, out)
    return rewritten(path, out.getvalue())


def rewritten(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


@pytest.fixture
def pair(request: pytest.FixtureRequest, opened: Callable[..., Store], tmp_path: Path) -> tuple[Store, Store]:
    """A store to export and an empty one to import."""
    urls = {"sqlite": "sqlite_url", "mongodb": "database_url"}
    source, target = request.param.split(" to ")
    source_url = request.getfixturevalue(urls[source])
    target_url = f"sqlite:///{tmp_path}/target.db" if source == target else request.getfixturevalue(urls[target])
    return opened(source_url), opened(target_url)


@pytest.mark.parametrize("pair", ["sqlite to mongodb", "mongodb to sqlite", "sqlite to sqlite"], indirect=True)
async def test_a_store_moves_whole(pair: tuple[Store, Store], tmp_path: Path) -> None:
    """Every record is equal on the other side, the trees too; doing it again adds nothing."""
    source, target = pair
    await fill(source)
    path = await exported(source, tmp_path / "export.jsonl")
    count = sum(map(len, await everything(source)))
    assert await import_store(target, path) == count
    assert await everything(target) == await everything(source)
    assert await import_store(target, path) == 0
    assert lines_of(await exported(target, tmp_path / "again.jsonl")) == lines_of(path)
    user = await target.users.find_by_email("a@example.com")
    assert user is not None
    longest = (await target.conversations.page(user.id, limit=1)).items[0]
    assert (await target.messages.page(user.id, longest.id, limit=1)).items[0].sequence == 1
    head = await target.messages.history(user.id, longest.id)
    assert [message.sequence for message in head] == [1, 451]
    before_head = (await target.messages.page(user.id, longest.id, limit=2, newest_first=True)).items[1]
    history = await target.messages.history(user.id, longest.id, message_id=before_head.id)
    assert [message.sequence for message in history] == list(range(1, 451))
    held = await source.holdings.of(user.id)
    assert (held.keys, held.presets, held.conversations, held.messages, held.shares) == (1, 2, 3, 455, 2)
    assert await target.holdings.of(user.id) == held


@pytest.fixture
def small(store: Store, runner: asyncio.Runner, tmp_path: Path) -> Path:
    """An export of a few records of a store that has none."""
    lines = [
        '{"format":"jan-store-1"}',
        '{"kind":"conversation","record":{"id":"conv_1","user_id":"user_1","created_at":"2026-01-01T00:00:00Z",'
        '"updated_at":"2026-01-01T00:00:00Z"}}',
        '{"kind":"message","record":{"id":"msg_1","conversation_id":"conv_1","role":"user","content":"x",'
        '"sequence":1,"created_at":"2026-01-01T00:00:00Z"}}',
        '{"kind":"user","record":{"id":"user_1","email":"a@example.com","created_at":"2026-01-01T00:00:00Z"}}',
        '{"records":3}',
    ]
    path = tmp_path / "small.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


async def test_an_interrupted_import_is_run_again(store: Store, tmp_path: Path) -> None:
    """A store that holds a part of the file just as it is there gets the rest."""
    await fill(store)
    path, before = await exported(store, tmp_path / "export.jsonl"), await everything(store)
    user = await store.users.find_by_email("a@example.com")
    assert user is not None
    lost = (await store.conversations.page(user.id, limit=1)).items[0]
    await store.conversations.delete(user.id, lost.id)
    assert await import_store(store, path) == 2 + lost.message_count
    assert await everything(store) == before


async def test_a_part_of_an_import_is_never_served(store: Store, small: Path, tmp_path: Path) -> None:
    """What stops in the middle leaves nothing behind, or a store that no server opens until it is repeated."""

    def stopped() -> Iterator[tuple[type[Record], list[Record]]]:
        yield (
            ConversationRecord,
            [ConversationRecord(id="conv_1", user_id="user_1", created_at=MIDNIGHT, updated_at=MIDNIGHT)],
        )
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        await store.archive.load(stopped())
    settings = Settings(data=str(tmp_path))
    people = make_people(settings.auth, store, make_keyring(settings))
    keeper = StoreKeeper(store, people, create_admin=False, show_late_key=print)
    if await store.archive.count(ConversationRecord):
        with pytest.raises(ConfigurationError, match="was interrupted"):
            await keeper.open()
    await import_store(store, small)
    assert [len(records) for records in await everything(store)][:6] == [1, 0, 0, 1, 1, 0]
    assert not await store.archive.unfinished()


@pytest.mark.parametrize("email", ["a@example.com", "b@example.com"])
async def test_a_store_with_records_of_its_own_is_refused(store: Store, small: Path, email: str) -> None:
    """A record that is not in the file is a Conflict, and nothing is written."""
    await store.users.create(User(email=email))
    before = await everything(store)
    with pytest.raises(Conflict):
        await import_store(store, small)
    assert await everything(store) == before


async def test_a_record_that_differs_is_refused(store: Store, small: Path) -> None:
    """A stored record of the same id and other content is a Conflict that names it."""
    await store.conversations.create(ConversationRecord(id="conv_1", user_id="user_1", title="mine"))
    with pytest.raises(Conflict, match="conv_1"):
        await import_store(store, small)
    assert await store.archive.count(MessageRecord) == 0


_DEEP = '{"a":' * 5000 + "1" + "}" * 5000


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda lines: lines[:-1], "line 4"),
        (lambda lines: lines[:1], "line 2"),
        (lambda lines: [], "line 1"),
        (lambda lines: ['{"format":"jan-store-9"}', *lines[1:]], "line 1.*jan-store-1, jan-store-2"),
        (lambda lines: [lines[0], *lines[2:]], "line 2.*follow its conversation"),
        (lambda lines: [*lines[:3], lines[2], *lines[3:]], "line 4.*sequence"),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], "line 3.*order of id"),
        (lambda lines: [*lines[:3], *lines[4:]], "line 4.*number of records"),
        (lambda lines: [*lines[:3], lines[3].replace('"user"', '"robot"'), *lines[4:]], "line 4.*robot"),
        (lambda lines: [*lines[:3], lines[3].replace('"id":"user_1",', ""), *lines[4:]], "line 4.*id"),
        (lambda lines: [*lines[:3], lines[3][:40], *lines[4:]], "line 4"),
        (lambda lines: [*lines[:2], lines[2].replace("conv_1", "conv_2"), *lines[3:]], "line 3"),
        (
            lambda lines: [*lines[:2], lines[2].replace("}}", f',"tool_calls":[{_DEEP}]}}}}'), *lines[3:]],
            "line 3.*recursion",
        ),
        (
            lambda lines: [*lines[:2], lines[2].replace("}}", ',"parent_id":"m"}}'), *lines[3:]],
            "line 3.*parent",
        ),
    ],
)
async def test_a_damaged_file_is_refused(store: Store, small: Path, damage: Any, words: str) -> None:
    """A file cut short, edited or out of order is refused with the line's number, and nothing is written."""
    rewritten(small, "".join(line + "\n" for line in damage(lines_of(small))).encode())
    with pytest.raises(InvalidRequest, match=words):
        await import_store(store, small)
    assert sum(map(len, await everything(store))) == 0


@pytest.mark.parametrize("pair", ["mongodb to sqlite", "sqlite to sqlite"], indirect=True)
async def test_nothing_of_a_user_who_was_deleted_meanwhile_is_imported(
    pair: tuple[Store, Store], tmp_path: Path
) -> None:
    """An export reads users last. What it read before of one who is deleted then has no owner in the file."""
    source, target = pair
    await fill(source)
    gone = await source.users.find_by_email("a@example.com")
    assert gone is not None
    await source.deletions.mark(gone.id, now())
    path = await exported(source, tmp_path / "export.jsonl")
    assert gone.id in path.read_text()
    await import_store(target, path)
    for kind in (ApiKey, RefreshSession, ConversationRecord, MessageRecord, UsageRecord):
        owners = {
            getattr(record, "user_id", gone.id) for record in await target.archive.scan(kind, after="", limit=5)
        }
        assert gone.id not in owners, kind
    assert [user.email for user in await target.archive.scan(User, after="", limit=5)] == ["b@example.com"]
    assert (await target.holdings.of(gone.id)).conversations == 0


async def test_one_of_those_who_remove_a_record_is_told_so(store: Store) -> None:
    """However many of them come at once."""
    marker = ConversationRecord(user_id="user_1")
    await store.archive.insert(ConversationRecord, [marker])
    removed = await asyncio.gather(*(store.archive.remove(ConversationRecord, marker.id) for _ in range(5)))
    assert sorted(removed) == [False] * 4 + [True]
