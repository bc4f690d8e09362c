"""Compare our readings of answers with those of the peers' parsers."""

import json
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import msgspec

from support.peers.scenarios import Output

#: Reasoning, content, and the name and arguments of each call. White space around the first two does not count.
Reading = tuple[str, str, tuple[tuple[str, str], ...]]


class Difference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A known difference: who is right, and why.

    ``outputs``: patterns of the names of answers. ``dialects`` and ``peers``: none are all.
    ``right``: who reads these answers right; ``nobody`` where they have no right reading.
    """

    outputs: tuple[str, ...]
    right: Literal["jan", "peer", "nobody"]
    why: str
    dialects: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()

    def explains(self, dialect: str, output: str, peer: str) -> bool:
        """Return True if it is about this reading of this answer."""
        return (
            (not self.dialects or dialect in self.dialects)
            and (not self.peers or peer in self.peers)
            and any(fnmatchcase(output, pattern) for pattern in self.outputs)
        )


class Compared(msgspec.Struct, kw_only=True):
    """One answer, as we and the peers read it. ``peers``: by peer, whole and streamed; text for a failure."""

    dialect: str
    output: Output
    ours: Reading
    peers: Mapping[str, Mapping[str, Reading | str]]

    @property
    def differing(self) -> list[str]:
        """The peers of which a reading is not ours."""
        return [peer for peer, ways in self.peers.items() if any(way != self.ours for way in ways.values())]

    @property
    def unanimous(self) -> bool:
        """True if all readings of all peers are the same."""
        return len({reading for ways in self.peers.values() for reading in ways.values()}) == 1

    def __str__(self) -> str:
        lines = [f"{self.dialect}, {self.output.name}: {self.output.text!r}", f"    ours: {self.ours}"]
        lines += [f"    {peer} {way}: {read}" for peer, ways in self.peers.items() for way, read in ways.items()]
        return "\n".join(lines)


def reading_of(reasoning: str, content: str, calls: Iterable[tuple[str, str]]) -> Reading:
    """Return a reading in the form that is compared."""
    return reasoning.strip(), content.strip(), tuple((name, _canonical(arguments)) for name, arguments in calls)


def peer_reading(answered: Mapping[str, Any]) -> Reading | str:
    """Return a peer's reading, or its failure."""
    if "error" in answered:
        return f"failed: {answered['error']}"
    return reading_of(answered["reasoning"], answered["content"], map(tuple, answered["calls"]))


def _canonical(arguments: str) -> str:
    """Return arguments as JSON in one form; those that were cut as they are."""
    try:
        return json.dumps(json.loads(arguments), sort_keys=True, ensure_ascii=False)
    except ValueError:
        return f"cut: {arguments}"


def known_differences(file: Path) -> tuple[Difference, ...]:
    """Return the differences that a file lists."""
    return msgspec.yaml.decode(file.read_bytes(), type=tuple[Difference, ...])


def summary(dialect: str, compared: Sequence[Compared]) -> str:
    """Return a line that says how many answers of a dialect are read alike."""
    alike = sum(not each.differing for each in compared)
    unanimous = [each for each in compared if each.unanimous]
    with_them = sum(not each.differing for each in unanimous)
    return (
        f"{dialect}: {len(compared)} answers, {alike} read alike by us and {' and '.join(compared[0].peers)};"
        f" all readings of theirs agree on {len(unanimous)}, with ours on {with_them} of these"
    )
