"""The index of texts on MongoDB: each message has its n-grams in an array, with an index, and loses them with its
text."""

from jan.storage.conversation_lists import ListFilter
from jan.storage.folded_text import fold, grams_of
from jan.storage.mongo.client import Collection
from jan.storage.mongo.conversations import MongoConversations
from jan.storage.mongo.documents import UNSEARCHED
from jan.storage.mongo.messages import MongoMessages
from jan.storage.paging import size_of
from jan.storage.records import ConversationRecord, MessageRecord
from jan.storage.text_search import MOST_HITS, Found, SearchEffort, TextHit, Wanted, searched_text
from jan.tasks import apart

# Messages that are indexed in one go.
_BATCH = 100
# Those of them that are stored by one command, which has a time limit.
_AT_ONCE = 20
NEWEST_FIRST = [("_id", -1)]


class MongoTextSearch:
    """Implements ``text_search.TextSearch`` on MongoDB."""

    def __init__(self, messages: MongoMessages, conversations: MongoConversations) -> None:
        self._messages: Collection[MessageRecord] = messages.records
        self._conversations: Collection[ConversationRecord] = conversations.records
        self._listed = conversations
        # What a crash takes from an index is made again: the message waits for it as before.
        self._indexed = messages.indexed
        # Indexing goes on after this message, so that messages of imports under way do not hold it up.
        self._after = ""

    async def find(self, user_id: str, wanted: Wanted) -> Found:
        indexing = await self._index(await self._waiting(""))
        effort = SearchEffort()

        def looked_at(message: MessageRecord) -> bool:
            if effort.ended:
                return False
            effort.look_at(message, size_of(message), wanted)
            return True

        # An index is read for one of the n-grams, and what it has is searched for the others.
        one, others = {"searched_by": user_id, "grams": wanted.grams[0]}, {"grams": {"$all": wanted.grams}}
        await self._messages.look_through(one, others, sort=NEWEST_FIRST, looks_on=looked_at)
        return Found(hits=await self._titles(user_id, wanted) + effort.hits, more=effort.more, indexing=indexing)

    async def _titles(self, user_id: str, wanted: Wanted) -> list[TextHit]:
        """Find titles by the longest word; those without the others are left out."""
        longest = ListFilter(title=max(wanted.words, key=len))
        found = await self._listed.page(user_id, limit=MOST_HITS, among=longest)
        hits = [wanted.hit_in_title(conversation) for conversation in found.items]
        return [hit for hit in hits if hit is not None]

    async def index_some(self) -> bool:
        waiting = await self._waiting(self._after)
        more = await self._index(waiting)
        self._after = waiting[-1].id if more else ""
        return more

    async def _waiting(self, after: str) -> list[MessageRecord]:
        where = {UNSEARCHED: True, "_id": {"$gt": after}}
        return await self._messages.find(where, sort=[("_id", 1)], limit=_BATCH)

    async def _index(self, messages: list[MessageRecord]) -> bool:
        """Index messages of conversations that are there. Returns True if there may be others after them."""
        if not messages:
            return False
        ids = sorted({message.conversation_id for message in messages})
        found = await self._conversations.find({"_id": {"$in": ids}}, sort=[("_id", 1)], limit=0)
        owners = {conversation.id: conversation.user_id for conversation in found}
        # Made on a thread: a hundred long messages take a while.
        grams = await apart(_BATCH, lambda: [sorted(grams_of(fold(searched_text(one)))) for one in messages])
        changes = [
            (
                {"_id": message.id, UNSEARCHED: True, "updated_at": message.updated_at},
                {"$set": {"searched_by": owner, "grams": own}, "$unset": {UNSEARCHED: ""}},
            )
            for message, own in zip(messages, grams, strict=True)
            if (owner := owners.get(message.conversation_id)) is not None
        ]
        for start in range(0, len(changes), _AT_ONCE):
            await self._indexed.update_each(changes[start : start + _AT_ONCE])
        return len(messages) == _BATCH
