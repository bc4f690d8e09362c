"""Which waiting job begins next: weighted classes, in each of them deficit round robin over owners by tokens.

In every round of its class an owner is given one token of credit, and in every round of the queue a class is
given as many as its weight; a job begins in the round in which its owner, and its class, can pay for it. Rounds
are computed, not walked through, so that so small a quantum costs nothing; it is what lets a newcomer's job pass
another's backlog after about one of its jobs. A job's round is fixed but for those of its own owner before it and
what they are settled with, and every job that begins moves its owner on, so nothing is overtaken for ever.
"""

from collections import Counter, OrderedDict
from types import MappingProxyType
from typing import Generic, TypeVar

from jan.engine.base import Priority
from jan.engine.refusals import queue_full, share_full

T = TypeVar("T")

# Of the tokens that waiting jobs are given, where all classes have some.
WEIGHTS = MappingProxyType[Priority, int]({"high": 8, "normal": 4, "low": 1})


def largest_share(limit: int) -> int:
    """How many places of an otherwise empty queue one owner gets."""
    return (limit + 1) // 2


class _Round:
    """One of those who take turns: ``joined`` is the round in which it came, ``number`` its place in a round."""

    def __init__(self, joined: int, number: int, weight: int = 1) -> None:
        self.joined = joined
        self.number = number
        self.weight = weight
        self.spent = 0

    def when(self, cost: int) -> tuple[int, int]:
        """The round that pays for all it has spent and ``cost``, and the place in it."""
        return self.joined - (-(self.spent + cost) // self.weight), self.number

    def settle(self, tokens: int) -> None:
        """What was spent turned out to be so many more, or less; nobody goes back behind where it joined."""
        self.spent = max(self.spent + tokens, 0)


class _Owner(_Round, Generic[T]):
    def __init__(self, joined: int, number: int) -> None:
        super().__init__(joined, number)
        # Not a dict: taking the first of a long one again and again takes longer and longer.
        self.items: OrderedDict[T, int] = OrderedDict()

    def head(self) -> tuple[T, int]:
        return next(iter(self.items.items()))


class _Class(_Round, Generic[T]):
    """Owners in turn."""

    def __init__(self, joined: int, number: int, weight: int) -> None:
        super().__init__(joined, number, weight)
        self.owners: dict[str, _Owner[T]] = {}
        self._round = self._joined = 0

    def join(self, name: str) -> _Owner[T]:
        if name not in self.owners:
            self._joined += 1
            self.owners[name] = _Owner(self._round, self._joined)
        return self.owners[name]

    def next(self) -> str:
        """Whose turn it is."""
        return min(self.owners, key=lambda name: self.owners[name].when(self.owners[name].head()[1]))

    def settle_owner(self, name: str, tokens: int) -> None:
        if name in self.owners:
            self.owners[name].settle(tokens)

    def pop(self) -> tuple[str, T, int]:
        name = self.next()
        owner = self.owners[name]
        item, cost = owner.items.popitem(last=False)
        owner.spent += cost
        self._round = max(self._round, owner.when(0)[0])
        if not owner.items:
            del self.owners[name]
        return name, item, cost

    def order(self) -> list[tuple[T, int]]:
        """Everything, as it would be served."""
        found = []
        for owner in self.owners.values():
            total = 0
            for item, cost in owner.items.items():
                total += cost
                found.append((owner.when(total), item, cost))
        found.sort(key=lambda entry: entry[0])
        return [(item, cost) for _, item, cost in found]


class FairQueue(Generic[T]):
    """A bounded queue. An owner may hold no more than the places that are still free, so that one alone gets half
    of them, two get a third each, and there is a place for somebody new as long as there is one at all."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._classes: dict[Priority, _Class[T]] = {}
        self._held: Counter[str] = Counter()
        self._round = 0
        self._head: T | None = None
        self.tokens = 0

    def __len__(self) -> int:
        return self._held.total()

    def push(self, owner: str, item: T, cost: int, priority: Priority = "normal") -> None:
        """Add a job of so many tokens; raises Unavailable where there is no room for one of this owner's."""
        free = self._limit - len(self)
        if not free:
            raise queue_full(self._limit)
        if self._held[owner] >= free:
            raise share_full(self._held[owner], free)
        if priority not in self._classes:
            place = list(WEIGHTS).index(priority)
            self._classes[priority] = _Class(self._round, place, WEIGHTS[priority])
        self._classes[priority].join(owner).items[item] = cost
        self._changed(owner, 1, cost)

    def peek(self) -> T | None:
        """The job whose turn it is, without taking it."""
        if self._head is None and self._classes:
            chosen = self._classes[self._next()]
            self._head = chosen.owners[chosen.next()].head()[0]
        return self._head

    def _next(self) -> Priority:
        def when(priority: Priority) -> tuple[int, int]:
            chosen = self._classes[priority]
            return chosen.when(chosen.owners[chosen.next()].head()[1])

        return min(self._classes, key=when)

    def pop(self) -> T:
        """Take the job whose turn it is."""
        priority = self._next()
        chosen = self._classes[priority]
        owner, item, cost = chosen.pop()
        chosen.spent += cost
        self._round = max(self._round, chosen.when(0)[0])
        self._leave(priority)
        self._changed(owner, -1, -cost)
        return item

    def remove(self, owner: str, item: T, priority: Priority = "normal") -> bool:
        """Take a job out wherever it stands; False if it is not here."""
        held = self._classes[priority].owners.get(owner) if priority in self._classes else None
        if held is None or item not in held.items:
            return False
        cost = held.items.pop(item)
        if not held.items:
            del self._classes[priority].owners[owner]
        self._leave(priority)
        self._changed(owner, -1, -cost)
        return True

    def settle(self, owner: str, tokens: int, priority: Priority = "normal") -> None:
        """A job that began took so many tokens more than its cost, or less. It counts for those only of whom more
        jobs wait: who comes anew begins with neither credit nor debt."""
        if priority in self._classes:
            self._classes[priority].settle(tokens)
            self._classes[priority].settle_owner(owner, tokens)
            self._head = None

    def order(self) -> list[tuple[T, int]]:
        """All jobs and their costs, in the order in which they would begin if no other came."""
        waiting = {priority: found.order()[::-1] for priority, found in self._classes.items()}
        spent = dict.fromkeys(waiting, 0)
        order = []
        while waiting:
            priority = min(waiting, key=lambda name: self._classes[name].when(spent[name] + waiting[name][-1][1]))
            order.append(waiting[priority].pop())
            spent[priority] += order[-1][1]
            if not waiting[priority]:
                del waiting[priority]
        return order

    def drain(self) -> list[T]:
        """Take everything."""
        taken = [item for item, _ in self.order()]
        self._classes.clear()
        self._held.clear()
        self._head, self.tokens = None, 0
        return taken

    def _leave(self, priority: Priority) -> None:
        if not self._classes[priority].owners:
            del self._classes[priority]

    def _changed(self, owner: str, count: int, tokens: int) -> None:
        self._head = None
        self.tokens += tokens
        self._held[owner] += count
        if not self._held[owner]:
            del self._held[owner]
