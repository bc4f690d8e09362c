"""The blocks of a text that grows: those that are finished, and at the end all of them."""

import msgspec

from jan.rendering.blocks import LONGEST_TEXT, Block, units
from jan.rendering.renderer import Renderer

# A text that costs time to read is read more rarely: it takes this part of a processor at most.
_PART_OF_PROCESSOR = 0.1
_LEAST_SECONDS = 0.05


class NewBlock(msgspec.Struct, frozen=True):
    """A block that is new, or that replaces the one with its number. One without HTML takes it away."""

    index: int
    html: str
    end: int


class GrowingBlocks:
    """Reads a growing text. Only what follows the last finished block is read again.

    A later line can change an earlier block: it may define the target of a link, or a footnote. So the whole text
    is read once at its end, and blocks that are different then are sent again.
    """

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._texts: list[str] = []
        # The text that no finished block has, and how much comes before it.
        self._open = ""
        self._new: list[str] = []
        self._before = 0
        self._sent: list[Block] = []
        self._read = (0, False)
        self._size = 0
        #: True if something may have been finished since the text was last read.
        self.due = False
        #: Seconds to wait until the text is read again.
        self.pause = _LEAST_SECONDS

    def add(self, text: str) -> None:
        """Add text at the end."""
        self._new.append(text)
        self._size += len(text)
        # A line is finished, or one begins.
        self.due = self.due or "\n" in text or (len(self._new) > 1 and self._new[-2].endswith("\n"))

    async def read(self) -> list[NewBlock]:
        """Return the blocks that have been finished. The text must not be read by two at a time."""
        self._take()
        self.due = False
        lines = self._open.rfind("\n") + 1
        begins = self._open[lines : lines + 1].isalpha()
        if (lines, begins) == self._read or not lines or self._size > LONGEST_TEXT:
            return []
        rendered = await self._renderer.render_growing(self._open[:lines], next_begins=begins)
        self.pause = max(_LEAST_SECONDS, rendered.seconds / _PART_OF_PROCESSOR)
        made = []
        for block in rendered.blocks:
            self._sent.append(Block(block.html, self._before + block.end))
            made.append(NewBlock(len(self._sent) - 1, block.html, self._before + block.end))
        self._before += units(self._open[: rendered.read])
        self._open = self._open[rendered.read :]
        self._read = (lines - rendered.read, begins)
        return made

    async def finish(self) -> list[NewBlock]:
        """Return the blocks that are missing or different, once the text is complete."""
        self._take()
        blocks = (await self._renderer.render("".join(self._texts))).blocks
        end = blocks[-1].end if blocks else 0
        blocks += [Block("", end)] * (len(self._sent) - len(blocks))
        made = [
            NewBlock(index, block.html, block.end)
            for index, block in enumerate(blocks)
            if index >= len(self._sent) or block != self._sent[index]
        ]
        self._sent = blocks
        return made

    def _take(self) -> None:
        """Put new text behind the text that is open."""
        new, self._new = "".join(self._new), []
        self._texts.append(new)
        self._open += new
