"""Pages of lists of items."""

from typing import Any

from jan.errors import InvalidRequest
from jan.schema.responses import InputItems, ItemsQuery

_DEFAULT_LIMIT = 20


def page_of_items(items: list[dict[str, Any]], query: ItemsQuery) -> InputItems:
    """Return the page of items, given oldest first, that a query asks for. Raises InvalidRequest."""
    if query.order != "asc":
        items = items[::-1]
    ids = [item["id"] for item in items]
    if query.after is not None:
        if query.after not in ids:
            raise InvalidRequest("after: There is no item of this id.", code="invalid_value", param="after")
        items = items[ids.index(query.after) + 1 :]
    limit = query.limit or _DEFAULT_LIMIT
    shown = items[:limit]
    return InputItems(
        data=shown,
        has_more=len(items) > limit,
        first_id=shown[0]["id"] if shown else None,
        last_id=shown[-1]["id"] if shown else None,
    )
