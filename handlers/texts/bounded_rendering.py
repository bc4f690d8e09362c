"""Renders the Markdown of one request's texts within a bound of CPU time."""

from collections.abc import Sequence

from jan.handler import Renderer
from jan.schema.rendered_texts import RenderedBlock

# CPU time of a request's texts. Those that follow are shown as they are written.
_SECONDS = 4.0


async def rendered_in_turn(renderer: Renderer, texts: Sequence[str]) -> list[list[RenderedBlock]]:
    """Return the blocks of each text."""
    rendered, used = [], 0.0
    for text in texts:
        done = await renderer.render(text, plainly=used > _SECONDS)
        used += done.seconds
        rendered.append(
            [RenderedBlock(index=at, html=one.html, end=one.end) for at, one in enumerate(done.blocks)]
        )
    return rendered
