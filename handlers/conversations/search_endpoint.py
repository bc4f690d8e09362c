"""Serves /search, for conversations."""

from jan.errors import Unavailable
from jan.handler import Handler
from jan.operation import operation
from jan.schema.scopes import READ
from jan.schema.searches import SearchHit, SearchQuery, SearchResults, SearchSnippetPart


class Search(Handler):
    """Searches the conversations of the caller."""

    @operation(
        summary="Search titles and messages",
        access=READ,
        tag="conversations",
        query=SearchQuery,
        response=SearchResults,
        errors=(Unavailable,),
    )
    async def get(self, query: SearchQuery) -> SearchResults:
        """Find the titles and messages that have all words of `q`, in upper or lower case, with or without
        accents, also inside longer words. Words in double quotes must follow each other. The most relevant
        come first: titles, whole words, texts that have them often, and among equals the newest. Reasoning, calls
        and results of tools are not searched, and of a message only its first 100,000 characters."""
        page = await self.services.conversations.search(
            self.user_id, query.q, limit=query.limit, cursor=query.cursor
        )
        return SearchResults(
            data=[
                SearchHit(
                    conversation_id=hit.conversation_id,
                    title=page.conversations[hit.conversation_id].title,
                    message_id=hit.message_id,
                    role=hit.role,
                    created_at=int(hit.created_at.timestamp()),
                    snippet=[SearchSnippetPart(text=part.text, hit=part.hit) for part in hit.snippet],
                )
                for hit in page.hits
            ],
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
            indexing=page.indexing,
            truncated=page.more,
        )
