"""The schema and its versions. A released step is never edited; a change is a new step."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from jan.errors import ConfigurationError
from jan.storage.earlier_messages import itemised
from jan.storage.folded_text import fold
from jan.storage.sqlite.erasure import rewrite_if_small
from jan.storage.sqlite.search_tables import SEARCH_TABLES

APPLICATION_ID = 0x4A414E53
"""Marks the file as Jan's ("JANS"), so that another program's database is refused."""

# Each table holds the record as JSON in ``doc``. The other columns repeat the fields that are searched or sorted
# by, with times in milliseconds. ``tables.py`` fills them.
_VERSION_1 = (
    """CREATE TABLE users (id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, oidc TEXT UNIQUE,
       doc TEXT NOT NULL)""",
    """CREATE TABLE api_keys (id TEXT PRIMARY KEY, user_id TEXT NOT NULL, hash TEXT NOT NULL UNIQUE,
       doc TEXT NOT NULL)""",
    """CREATE INDEX api_keys_by_user ON api_keys (user_id, id)""",
    """CREATE TABLE sessions (id TEXT PRIMARY KEY, user_id TEXT NOT NULL, expires_at INTEGER NOT NULL,
       ended_at INTEGER, doc TEXT NOT NULL)""",
    """CREATE INDEX sessions_by_user ON sessions (user_id) WHERE ended_at IS NULL""",
    """CREATE INDEX sessions_by_expiry ON sessions (expires_at)""",
    """CREATE TABLE conversations (id TEXT PRIMARY KEY, user_id TEXT NOT NULL, position TEXT NOT NULL,
       title_folded TEXT NOT NULL, doc TEXT NOT NULL)""",
    """CREATE INDEX conversations_by_change ON conversations (user_id, position, title_folded)""",
    """CREATE TABLE messages (id TEXT PRIMARY KEY, conversation_id TEXT NOT NULL, parent_id TEXT,
       sequence INTEGER NOT NULL, status TEXT NOT NULL, updated_at INTEGER NOT NULL, doc TEXT NOT NULL)""",
    """CREATE UNIQUE INDEX messages_in_order ON messages (conversation_id, sequence)""",
    """CREATE INDEX messages_streaming ON messages (updated_at) WHERE status = 'streaming'""",
)
_VERSION_2 = (
    """CREATE TABLE counters (key TEXT PRIMARY KEY, used INTEGER NOT NULL, ends_at INTEGER NOT NULL)
       WITHOUT ROWID""",
    """CREATE INDEX counters_by_end ON counters (ends_at)""",
    """CREATE TABLE usage (id TEXT PRIMARY KEY, user_id TEXT NOT NULL, day TEXT NOT NULL, doc TEXT NOT NULL)""",
    """CREATE INDEX usage_by_user ON usage (user_id, day)""",
)
_VERSION_3 = (
    """CREATE TABLE given_answers (id TEXT PRIMARY KEY, first_at INTEGER NOT NULL, doc TEXT NOT NULL)""",
    """CREATE INDEX given_answers_by_age ON given_answers (first_at)""",
)
# Answers may have the status "failed", which older servers can't read.
_VERSION_4 = ()
# Keys say who made them and whose budgets they are charged to, which older servers would lose.
_VERSION_5 = ()
# Stored answers are forgotten with the conversation that they are about.
_VERSION_6 = (
    """ALTER TABLE given_answers ADD COLUMN about TEXT""",
    """CREATE INDEX given_answers_about ON given_answers (about) WHERE about IS NOT NULL""",
)
_VERSION_7 = (
    """CREATE TABLE audit (id TEXT PRIMARY KEY, position TEXT NOT NULL, user_id TEXT, actor TEXT,
       act TEXT NOT NULL, doc TEXT NOT NULL)""",
    """CREATE INDEX audit_by_time ON audit (position)""",
    """CREATE INDEX audit_by_user ON audit (user_id, position) WHERE user_id IS NOT NULL""",
    """CREATE INDEX audit_by_actor ON audit (actor, position) WHERE actor IS NOT NULL""",
    """CREATE INDEX audit_by_act ON audit (act, position)""",
    """CREATE TABLE audit_marks (id TEXT PRIMARY KEY, kind TEXT NOT NULL, at INTEGER NOT NULL,
       doc TEXT NOT NULL)""",
    """CREATE INDEX audit_marks_by_time ON audit_marks (kind, at)""",
)
# What each user stores is counted, and conversations have the bytes of their messages.
_VERSION_8 = (
    """CREATE TABLE holdings (user_id TEXT PRIMARY KEY, keys INTEGER NOT NULL, conversations INTEGER NOT NULL,
       messages INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID""",
    """UPDATE conversations SET doc = json_set(doc, '$.message_bytes', (
       SELECT coalesce(sum(length(CAST(m.doc AS BLOB))), 0) FROM messages m
       WHERE m.conversation_id = conversations.id))""",
    """INSERT INTO holdings SELECT user_id, sum(key), sum(conversation), sum(messages), sum(bytes) FROM (
       SELECT user_id, 0 AS key, 1 AS conversation, json_extract(doc, '$.message_count') AS messages,
       json_extract(doc, '$.message_bytes') AS bytes FROM conversations UNION ALL
       SELECT user_id, json_extract(doc, '$.revoked_at') IS NULL AND json_extract(doc, '$.replaced_by') IS NULL,
       0, 0, 0 FROM api_keys) GROUP BY user_id""",
)
# Messages may have reasoning, and what a response was asked for, which older servers would lose.
_VERSION_9 = ()
# Users who are deleted are marked until all that was theirs is removed.
_VERSION_10 = (
    """ALTER TABLE users ADD COLUMN deleted_at INTEGER""",
    """CREATE INDEX users_deleted ON users (deleted_at) WHERE deleted_at IS NOT NULL""",
    """CREATE INDEX sessions_of_user ON sessions (user_id)""",
    """ALTER TABLE given_answers ADD COLUMN user_id TEXT""",
    """CREATE INDEX given_answers_by_user ON given_answers (user_id) WHERE user_id IS NOT NULL""",
)
# Chat completions that were asked for with `store` are listed by their user.
_VERSION_11 = (
    """ALTER TABLE messages ADD COLUMN completion_of TEXT""",
    """CREATE INDEX messages_by_completion ON messages (completion_of, id) WHERE completion_of IS NOT NULL""",
)
# Sessions have a kind, a device and a key, which older servers would lose. The open ones of a user are listed.
_VERSION_12 = ("""CREATE INDEX sessions_open ON sessions (user_id, id) WHERE ended_at IS NULL""",)
# Answers that are made in the background, until they have ended.
_VERSION_13 = (
    """CREATE TABLE queued_answers (id TEXT PRIMARY KEY, user_id TEXT NOT NULL, conversation_id TEXT NOT NULL,
       holder TEXT NOT NULL, held_until INTEGER NOT NULL, doc TEXT NOT NULL)""",
    """CREATE INDEX queued_answers_by_user ON queued_answers (user_id)""",
    """CREATE INDEX queued_answers_of_conversation ON queued_answers (conversation_id)""",
    """CREATE INDEX queued_answers_by_holder ON queued_answers (holder)""",
)
# Messages have items, in place of content, reasoning and calls. Conversations have the bytes of the new form.
_VERSION_14 = (
    """UPDATE messages SET doc = itemised(doc)""",
    """UPDATE conversations SET doc = json_set(doc, '$.message_bytes', (
       SELECT coalesce(sum(length(CAST(m.doc AS BLOB))), 0) FROM messages m
       WHERE m.conversation_id = conversations.id))""",
    """UPDATE holdings SET bytes = (
       SELECT coalesce(sum(json_extract(c.doc, '$.message_bytes')), 0) FROM conversations c
       WHERE c.user_id = holdings.user_id)""",
)
# Conversations that were made for responses which named none are deleted when they are old, if that is configured.
_VERSION_15 = (
    """ALTER TABLE conversations ADD COLUMN unnamed INTEGER NOT NULL DEFAULT 0""",
    """CREATE INDEX conversations_unnamed ON conversations (position) WHERE unnamed = 1""",
)
# Conversations of other applications are imported once for each user.
_VERSION_16 = (
    """ALTER TABLE conversations ADD COLUMN origin_key TEXT""",
    """CREATE UNIQUE INDEX conversations_by_origin ON conversations (origin_key) WHERE origin_key IS NOT NULL""",
)
# The texts of messages are searched. Those that are there are indexed in the background.
_VERSION_17 = SEARCH_TABLES
# Conversations are pinned, archived, and put into folders.
_VERSION_18 = (
    """ALTER TABLE conversations ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0""",
    """ALTER TABLE conversations ADD COLUMN archived INTEGER NOT NULL DEFAULT 0""",
    """ALTER TABLE conversations ADD COLUMN folder TEXT NOT NULL DEFAULT ''""",
    """CREATE INDEX conversations_pinned ON conversations (user_id, position) WHERE pinned = 1""",
    """CREATE INDEX conversations_archived ON conversations (user_id, position) WHERE archived = 1""",
    """CREATE INDEX conversations_by_folder ON conversations (user_id, folder, position)""",
)
# Conversations are shared by links, which are counted.
_VERSION_19 = (
    """CREATE TABLE shares (id TEXT PRIMARY KEY, user_id TEXT NOT NULL, conversation_id TEXT NOT NULL,
       hash TEXT NOT NULL UNIQUE, expires_at INTEGER NOT NULL, doc TEXT NOT NULL)""",
    """CREATE INDEX shares_by_user ON shares (user_id, id)""",
    """CREATE INDEX shares_of_conversation ON shares (conversation_id, id)""",
    """CREATE INDEX shares_by_end ON shares (expires_at)""",
    """ALTER TABLE holdings ADD COLUMN shares INTEGER NOT NULL DEFAULT 0""",
)
# Users keep presets, which are counted.
_VERSION_20 = (
    """CREATE TABLE presets (id TEXT PRIMARY KEY, user_id TEXT NOT NULL, name_key TEXT NOT NULL UNIQUE,
       default_key TEXT UNIQUE, doc TEXT NOT NULL)""",
    """CREATE INDEX presets_by_user ON presets (user_id, id)""",
    """ALTER TABLE holdings ADD COLUMN presets INTEGER NOT NULL DEFAULT 0""",
)
MIGRATIONS: tuple[Sequence[str], ...] = (
    _VERSION_1,
    _VERSION_2,
    _VERSION_3,
    _VERSION_4,
    _VERSION_5,
    _VERSION_6,
    _VERSION_7,
    _VERSION_8,
    _VERSION_9,
    _VERSION_10,
    _VERSION_11,
    _VERSION_12,
    _VERSION_13,
    _VERSION_14,
    _VERSION_15,
    _VERSION_16,
    _VERSION_17,
    _VERSION_18,
    _VERSION_19,
    _VERSION_20,
)
# Files of earlier versions may hold deleted text, which these did not overwrite.
_ERASES_SINCE = 6


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to date in one transaction. Several processes may do this at once.

    Raises ConfigurationError if the file is another program's or was written by a newer version.
    """
    if sqlite3.sqlite_version_info < (3, 38):
        raise ConfigurationError(f"SQLite {sqlite3.sqlite_version} is too old; allowed: 3.38 or newer.")
    connection.execute("PRAGMA journal_mode = WAL")
    add_functions(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        _check_ours(connection, path)
        before = _upgrade(connection, path)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    if 0 < before < _ERASES_SINCE:
        rewrite_if_small(connection, path)


def add_functions(connection: sqlite3.Connection) -> None:
    """Let a connection use the functions that steps call."""
    connection.create_function("itemised", 1, itemised, deterministic=True)
    connection.create_function("folded", 1, fold, deterministic=True)


def _check_ours(connection: sqlite3.Connection, path: Path) -> None:
    [marked] = connection.execute("PRAGMA application_id").fetchone()
    [tables] = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if marked != APPLICATION_ID and tables:
        raise of_another_program(path)


def _upgrade(connection: sqlite3.Connection, path: Path) -> int:
    """Bring the schema up to date. Returns the version that it had before; 0 for a new file."""
    version: int
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise too_new(path, version)
    for step in MIGRATIONS[version:]:
        for statement in step:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    return version


def of_another_program(path: Path) -> ConfigurationError:
    """Make the error for a file that is not ours."""
    return ConfigurationError(f"storage.url: {path} is the database of another program.")


def too_new(path: Path, version: int) -> ConfigurationError:
    """Make the error for a file of a schema version that does not exist yet."""
    return ConfigurationError(
        f"storage.url: {path} has schema version {version}, written by a newer Jan Server."
        f" This one knows versions up to {len(MIGRATIONS)}."
    )
