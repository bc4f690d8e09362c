"""The order of waiting jobs: weighted classes, and in each class deficit round robin over owners, by tokens.

Deficit round robin (Shreedhar & Varghese 1996) with a quantum of one token: in each round of its class, every
owner gets a credit of one token, and in each round of the queue, every class gets as many as its weight. A job
begins in the first round in which its owner and its class can pay its cost. Rounds are computed, not stepped
through, so the small quantum costs nothing. It lets a new owner's job begin after about one job of another owner's
backlog.

A job's round depends only on the earlier jobs of its owner and on how they were settled. Each job that begins
moves its owner to a later round, so no job is overtaken for ever.
"""

from collections import Counter, OrderedDict
from types import MappingProxyType
from typing import Generic, TypeVar

from jan.engine.base import Priority
from jan.engine.refusals import queue_full, share_full

T = TypeVar("T")

# Shares of the tokens of jobs that begin, while all classes have waiting jobs.
WEIGHTS = MappingProxyType[Priority, int]({"high": 8, "normal": 4, "low": 1})


def largest_share(limit: int) -> int:
    """Return how many places of an otherwise empty queue one owner gets."""
    return (limit + 1) // 2


class _Account:
    """The credit of an owner or a class.

    ``joined``: the round in which it came. ``number``: its place in each round. ``weight``: tokens of credit in
    each round. ``spent``: tokens of the jobs that began.
    """

    def __init__(self, joined: int, number: int, weight: int = 1) -> None:
        self.joined = joined
        self.number = number
        self.weight = weight
        self.spent = 0

    def turn(self, cost: int) -> tuple[int, int]:
        """Return the round in which the credit pays for ``spent`` and ``cost``, and the place in that round."""
        return self.joined - (-(self.spent + cost) // self.weight), self.number

    def settle(self, tokens: int) -> None:
        """Correct ``spent`` by ``tokens``, which may be negative. Nobody gets more credit than when it joined."""
        self.spent = max(self.spent + tokens, 0)


class _OwnerQueue(_Account, Generic[T]):
    """The waiting jobs of one owner in one class, with their costs, first come, first served."""

    def __init__(self, joined: int, number: int) -> None:
        super().__init__(joined, number)
        # Not a dict: removing the first item of a long dict again and again gets slower and slower.
        self.items: OrderedDict[T, int] = OrderedDict()

    def head(self) -> tuple[T, int]:
        return next(iter(self.items.items()))


class _ClassQueue(_Account, Generic[T]):
    """The owners of one class in deficit round robin."""

    def __init__(self, joined: int, number: int, weight: int) -> None:
        super().__init__(joined, number, weight)
        self.owners: dict[str, _OwnerQueue[T]] = {}
        self._round = self._joined = 0

    def join(self, name: str) -> _OwnerQueue[T]:
        if name not in self.owners:
            self._joined += 1
            self.owners[name] = _OwnerQueue(self._round, self._joined)
        return self.owners[name]

    def next(self) -> str:
        """Return the owner whose turn it is."""
        return min(self.owners, key=lambda name: self.owners[name].turn(self.owners[name].head()[1]))

    def settle_owner(self, name: str, tokens: int) -> None:
        if name in self.owners:
            self.owners[name].settle(tokens)

    def pop(self) -> tuple[str, T, int]:
        name = self.next()
        owner = self.owners[name]
        item, cost = owner.items.popitem(last=False)
        owner.spent += cost
        self._round = max(self._round, owner.turn(0)[0])
        if not owner.items:
            del self.owners[name]
        return name, item, cost

    def order(self) -> list[tuple[T, int]]:
        """Return all jobs and costs in the order in which they would begin."""
        found = []
        for owner in self.owners.values():
            total = 0
            for item, cost in owner.items.items():
                total += cost
                found.append((owner.turn(total), item, cost))
        found.sort(key=lambda entry: entry[0])
        return [(item, cost) for _, item, cost in found]


class FairQueue(Generic[T]):
    """A bounded queue of jobs. ``tokens``: costs of all waiting jobs together.

    An owner may hold no more places than are still free. So a single owner gets half of them, two owners get a
    third each, and a new owner finds a place as long as any is free.

    Usage::

        queue: FairQueue[Job] = FairQueue(limit=256)
        queue.push("alice", job, cost=700)
        job = queue.pop()
        queue.settle("alice", tokens_it_took - 700)
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._classes: dict[Priority, _ClassQueue[T]] = {}
        self._held: Counter[str] = Counter()
        self._round = 0
        self._head: T | None = None
        self.tokens = 0

    def __len__(self) -> int:
        return self._held.total()

    def push(self, owner: str, item: T, cost: int, priority: Priority = "normal") -> None:
        """Add a job that costs ``cost`` tokens. Raises Unavailable if this owner gets no place."""
        free = self._limit - len(self)
        if not free:
            raise queue_full(self._limit)
        if self._held[owner] >= free:
            raise share_full(self._held[owner], free)
        if priority not in self._classes:
            place = list(WEIGHTS).index(priority)
            self._classes[priority] = _ClassQueue(self._round, place, WEIGHTS[priority])
        self._classes[priority].join(owner).items[item] = cost
        self._changed(owner, 1, cost)

    def peek(self) -> T | None:
        """Return the job whose turn it is without taking it, None if no job waits."""
        if self._head is None and self._classes:
            chosen = self._classes[self._next()]
            self._head = chosen.owners[chosen.next()].head()[0]
        return self._head

    def _next(self) -> Priority:
        def turn(priority: Priority) -> tuple[int, int]:
            chosen = self._classes[priority]
            return chosen.turn(chosen.owners[chosen.next()].head()[1])

        return min(self._classes, key=turn)

    def pop(self) -> T:
        """Take the job whose turn it is."""
        priority = self._next()
        chosen = self._classes[priority]
        owner, item, cost = chosen.pop()
        chosen.spent += cost
        self._round = max(self._round, chosen.turn(0)[0])
        self._leave(priority)
        self._changed(owner, -1, -cost)
        return item

    def remove(self, owner: str, item: T, priority: Priority = "normal") -> bool:
        """Remove a job, wherever it is in the queue. Returns False if it does not wait here."""
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
        """Charge an owner for a finished job that took ``tokens`` more than its cost, or fewer if negative.

        An owner without waiting jobs is not charged, because a new owner begins with neither credit nor debt.
        """
        if priority in self._classes:
            self._classes[priority].settle(tokens)
            self._classes[priority].settle_owner(owner, tokens)
            self._head = None

    def order(self) -> list[tuple[T, int]]:
        """Return all jobs and costs in the order in which they would begin if no other came."""
        waiting = {priority: found.order()[::-1] for priority, found in self._classes.items()}
        spent = dict.fromkeys(waiting, 0)
        order = []
        while waiting:
            priority = min(waiting, key=lambda name: self._classes[name].turn(spent[name] + waiting[name][-1][1]))
            order.append(waiting[priority].pop())
            spent[priority] += order[-1][1]
            if not waiting[priority]:
                del waiting[priority]
        return order

    def drain(self) -> list[T]:
        """Remove and return all jobs, in order."""
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
