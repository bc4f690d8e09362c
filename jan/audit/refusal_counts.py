"""Counts refusals by client and minute, so that a flood of them makes one entry."""

from collections import Counter

import msgspec

from jan.audit.acts import Act, Actor

# Clients counted apart in one minute. All others are counted together.
_MOST_CLIENTS = 1000
# Error codes named in one entry.
_MOST_CODES = 8
OTHERS = "others"


class Refused(msgspec.Struct):
    """The refusals of one client in one minute. ``actor`` is None unless all are of the same one."""

    act: Act
    actor: Actor
    count: int = 0
    codes: Counter[str] = msgspec.field(default_factory=Counter)


class RefusalCounts:
    """The refusals of the current minute."""

    def __init__(self) -> None:
        self._counts: dict[tuple[Act, str], Refused] = {}

    def add(self, act: Act, client: str, actor: Actor, code: str) -> bool:
        """Count a refusal; return True for the first one since ``take``. ``client`` is who is counted as one."""
        first = not self._counts
        if len(self._counts) >= _MOST_CLIENTS and (act, client) not in self._counts:
            client, actor = OTHERS, Actor(address=OTHERS)
        found = self._counts.get((act, client))
        if found is None:
            found = self._counts[act, client] = Refused(act, actor)
        elif found.actor != actor:
            same = found.actor.address == actor.address
            found.actor = Actor(address=actor.address if same else client)
        found.count += 1
        if code in found.codes or len(found.codes) < _MOST_CODES:
            found.codes[code] += 1
        return first

    def take(self) -> list[Refused]:
        """Return what was counted, and begin anew."""
        taken, self._counts = list(self._counts.values()), {}
        return taken
