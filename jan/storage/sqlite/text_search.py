"""The index of texts on SQLite: blocks of messages, with a row of bits for each n-gram in them.

A block has up to 256 messages of one user. Searches read the rows of their n-grams in the user's blocks, and then
the messages whose bits are set in all of them. Messages that are in no block yet are read one by one. Triggers
(``search_tables.py``) take a block apart as soon as one of its messages is changed or deleted, in the same
transaction, so that the index never has anything of a text that is gone. FTS5 has no such deletion before SQLite
3.42, and would make one index for all users.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing

from jan.storage.earlier_messages import read_message
from jan.storage.folded_text import fold, hash_of, runs_of
from jan.storage.records import milliseconds
from jan.storage.sqlite.database import Database
from jan.storage.sqlite.tables import CONVERSATIONS
from jan.storage.text_search import MOST_HITS, Found, SearchEffort, TextHit, Wanted, searched_text

_BLOCK = 256
_BLOCK_BYTES = 4 * 1024 * 1024
_TITLES = "WHERE user_id = ? AND position < '~' {} ORDER BY position DESC LIMIT ?"
_CONTAINS = "AND instr(title_folded, ?) > 0"
_WAITING = """SELECT m.doc FROM search_places p JOIN messages m ON m.id = p.message_id
    WHERE p.user_id = ? AND p.block IS NULL ORDER BY p.message_id DESC"""
_OLDEST_WAITING = """SELECT m.id, m.doc FROM search_places p JOIN messages m ON m.id = p.message_id
    WHERE p.user_id = ? AND p.block IS NULL AND m.status != 'streaming' ORDER BY p.message_id LIMIT ?"""
# Jumps from one user to the next in the index.
_NEXT_TO_INDEX = f"""WITH RECURSIVE owners(id) AS (
        SELECT min(user_id) FROM search_places WHERE block IS NULL
        UNION ALL
        SELECT (SELECT min(user_id) FROM search_places WHERE block IS NULL AND user_id > owners.id) FROM owners
        WHERE owners.id IS NOT NULL)
    SELECT id FROM owners WHERE EXISTS (SELECT 1 FROM search_places
        WHERE block IS NULL AND user_id = owners.id LIMIT 1 OFFSET {_BLOCK - 1}) LIMIT 1"""
_BLOCKS = "SELECT block FROM search_blocks WHERE user_id = ? ORDER BY newest DESC"
_BITS = """SELECT g.block, g.bits FROM search_blocks b JOIN search_grams g ON g.block = b.block AND g.gram = ?
    WHERE b.user_id = ?"""
_PLACED = """SELECT m.doc FROM search_places p JOIN messages m ON m.id = p.message_id
    WHERE p.block = ? AND p.place = ?"""
_STILL_WAITS = """SELECT 1 FROM search_places p JOIN messages m ON m.id = p.message_id
    WHERE p.message_id = ? AND p.block IS NULL AND m.doc = ?"""

_Row = tuple[str, str]


class SqliteTextSearch:
    """Implements ``text_search.TextSearch`` on SQLite."""

    def __init__(self, database: Database) -> None:
        self._db = database
        # Users whose waiting messages were too many or too large for a search.
        self._urgent: set[str] = set()

    async def find(self, user_id: str, wanted: Wanted) -> Found:
        def work(db: sqlite3.Connection) -> Found:
            waiting, indexed = SearchEffort(share=4), SearchEffort()
            with closing(db.execute(_WAITING, (user_id,))) as docs:
                _look(waiting, (doc for (doc,) in docs), wanted)
            _look(indexed, _candidates(db, user_id, wanted), wanted)
            hits = [*_titles(db, user_id, wanted), *waiting.hits, *indexed.hits]
            return Found(hits=hits, more=waiting.more or indexed.more, indexing=waiting.more)

        found = await self._db.read(work)
        if found.indexing:
            self._urgent.add(user_id)
        return found

    async def index_some(self) -> bool:
        user_id, least = (self._urgent.pop(), 1) if self._urgent else (await self._db.read(_next_to_index), _BLOCK)
        if user_id is None:
            return False
        rows = await self._db.read(lambda db: _oldest_waiting(db, user_id))
        if len(rows) < least and sum(len(doc) for _, doc in rows) < _BLOCK_BYTES:
            return False
        grams, newest = await self._db.read(lambda _db: _bits_of(rows))
        return await self._db.write(lambda db: _add_block(db, user_id, rows, grams, newest))


def _look(effort: SearchEffort, docs: Iterable[str], wanted: Wanted) -> None:
    for doc in docs:
        if effort.ended:
            break
        effort.look_at(read_message(doc), len(doc), wanted)


def _titles(db: sqlite3.Connection, user_id: str, wanted: Wanted) -> list[TextHit]:
    clauses = _TITLES.format(" ".join([_CONTAINS] * len(wanted.words)))
    found = CONVERSATIONS.select(db, clauses, user_id, *wanted.words, MOST_HITS)
    hits = [wanted.hit_in_title(conversation) for conversation in found]
    return [hit for hit in hits if hit is not None]


def _candidates(db: sqlite3.Connection, user_id: str, wanted: Wanted) -> Iterator[str]:
    """Yield the messages in blocks that have all n-grams, those of newer blocks first."""
    bits: dict[int, int] | None = None
    for gram in wanted.grams:
        rows = {block: int.from_bytes(row, "little") for block, row in db.execute(_BITS, (gram, user_id))}
        bits = rows if bits is None else {one: both for one in bits if (both := bits[one] & rows.get(one, 0))}
        if not bits:
            return
    for (block,) in db.execute(_BLOCKS, (user_id,)).fetchall():
        left = (bits or {}).get(block, 0)
        while left:
            place = left.bit_length() - 1
            left ^= 1 << place
            for (doc,) in db.execute(_PLACED, (block, place)).fetchall():
                yield doc


def _next_to_index(db: sqlite3.Connection) -> str | None:
    found = db.execute(_NEXT_TO_INDEX).fetchone()
    return None if found is None else found[0]


def _oldest_waiting(db: sqlite3.Connection, user_id: str) -> list[_Row]:
    """Return the messages of the next block of a user, oldest first."""
    rows: list[_Row] = []
    size = 0
    with closing(db.execute(_OLDEST_WAITING, (user_id, _BLOCK))) as waiting:
        for row in waiting:
            size += len(row[1])
            rows.append(row)
            if size >= _BLOCK_BYTES:
                break
    return rows


def _bits_of(rows: list[_Row]) -> tuple[dict[int, int], int]:
    """Return the bits of each n-gram in these messages, and when the newest of them was made."""
    words: dict[str, int] = {}
    newest = 0
    for place, (_, doc) in enumerate(rows):
        message = read_message(doc)
        newest = max(newest, milliseconds(message.created_at))
        for word in set(fold(searched_text(message)).split()):
            words[word] = words.get(word, 0) | 1 << place
    # The n-grams of a word are made once, however many messages have it, and each is hashed once.
    runs: dict[str, int] = {}
    for word, places in words.items():
        for run in runs_of(word):
            runs[run] = runs.get(run, 0) | places
    bits: dict[int, int] = {}
    for run, places in runs.items():
        gram = hash_of(run)
        bits[gram] = bits.get(gram, 0) | places
    return bits, newest


def _add_block(db: sqlite3.Connection, user_id: str, rows: list[_Row], grams: dict[int, int], newest: int) -> bool:
    """Add a block of messages, unless one of them has changed meanwhile."""
    if all(db.execute(_STILL_WAITS, row).fetchone() for row in rows):
        made = db.execute("INSERT INTO search_blocks (user_id, newest) VALUES (?, ?)", (user_id, newest))
        block = made.lastrowid
        length = (len(rows) + 7) // 8
        db.executemany(
            "INSERT INTO search_grams (block, gram, bits) VALUES (?, ?, ?)",
            [(block, gram, bits.to_bytes(length, "little")) for gram, bits in sorted(grams.items())],
        )
        db.executemany(
            "UPDATE search_places SET block = ?, place = ? WHERE message_id = ?",
            [(block, place, own) for place, (own, _) in enumerate(rows)],
        )
    return True
