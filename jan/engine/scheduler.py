"""Which waiting job begins next: a bounded queue, first come first served within a user, users in turn."""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

from jan.errors import Unavailable

T = TypeVar("T")


class FairQueue(Generic[T]):
    """A bounded queue that takes from its owners in turn, so nobody waits behind another's backlog."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._owners: OrderedDict[str, deque[T]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def push(self, owner: str, item: T) -> None:
        """Add an item; raises Unavailable when the queue is full."""
        if self._size >= self._limit:
            raise Unavailable(
                f"the model has {self._size} requests waiting, which is its limit; try again shortly",
                code="overloaded",
                headers={"Retry-After": "5", "retry-after-ms": "5000"},
            )
        self._owners.setdefault(owner, deque()).append(item)
        self._size += 1

    def peek(self) -> T | None:
        """The item whose turn it is, without taking it."""
        return next(iter(self._owners.values()))[0] if self._owners else None

    def pop(self) -> T:
        """Take the item whose turn it is; its owner goes to the back of the round."""
        owner, items = self._owners.popitem(last=False)
        item = items.popleft()
        if items:
            self._owners[owner] = items
        self._size -= 1
        return item

    def remove(self, owner: str, item: T) -> bool:
        """Take an item out wherever it stands; False if it is not here."""
        items = self._owners.get(owner)
        if items is None or item not in items:
            return False
        items.remove(item)
        if not items:
            del self._owners[owner]
        self._size -= 1
        return True

    def drain(self) -> list[T]:
        """Take everything."""
        taken = [item for items in self._owners.values() for item in items]
        self._owners.clear()
        self._size = 0
        return taken
