"""The tables and triggers of the index of texts. See ``text_search.py``."""

# Takes the block of a message apart: its n-grams go, and its messages wait to be indexed again.
_DISSOLVE = """DELETE FROM search_grams WHERE block =
           (SELECT block FROM search_places WHERE message_id = old.id);
       DELETE FROM search_blocks WHERE block =
           (SELECT block FROM search_places WHERE message_id = old.id);
       UPDATE search_places SET block = NULL, place = NULL WHERE block =
           (SELECT block FROM search_places WHERE message_id = old.id);"""
SEARCH_TABLES = (
    """CREATE TABLE search_places (message_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, block INTEGER,
       place INTEGER) WITHOUT ROWID""",
    """CREATE INDEX search_places_waiting ON search_places (user_id, message_id) WHERE block IS NULL""",
    """CREATE INDEX search_places_of_block ON search_places (block, place) WHERE block IS NOT NULL""",
    """CREATE TABLE search_blocks (block INTEGER PRIMARY KEY AUTOINCREMENT, user_id TEXT NOT NULL,
       newest INTEGER NOT NULL)""",
    """CREATE INDEX search_blocks_by_user ON search_blocks (user_id, newest)""",
    """CREATE TABLE search_grams (block INTEGER NOT NULL, gram INTEGER NOT NULL, bits BLOB NOT NULL,
       PRIMARY KEY (block, gram)) WITHOUT ROWID""",
    """CREATE TRIGGER search_added AFTER INSERT ON messages BEGIN
       INSERT OR IGNORE INTO search_places (message_id, user_id)
       SELECT new.id, c.user_id FROM conversations c WHERE c.id = new.conversation_id; END""",
    # Imports store the messages before their conversation.
    """CREATE TRIGGER search_imported AFTER INSERT ON conversations BEGIN
       INSERT OR IGNORE INTO search_places (message_id, user_id)
       SELECT m.id, new.user_id FROM messages m WHERE m.conversation_id = new.id; END""",
    f"""CREATE TRIGGER search_changed AFTER UPDATE OF doc ON messages
       WHEN EXISTS (SELECT 1 FROM search_places WHERE message_id = old.id AND block IS NOT NULL)
       BEGIN {_DISSOLVE} END""",
    f"""CREATE TRIGGER search_deleted AFTER DELETE ON messages BEGIN {_DISSOLVE}
       DELETE FROM search_places WHERE message_id = old.id; END""",
    """INSERT INTO search_places (message_id, user_id)
       SELECT m.id, c.user_id FROM messages m JOIN conversations c ON c.id = m.conversation_id""",
    # Titles are compared without accents now.
    """UPDATE conversations SET title_folded = folded(json_extract(doc, '$.title'))""",
)
