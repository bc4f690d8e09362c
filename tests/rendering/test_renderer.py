"""The processes that read texts: started when needed, replaced when they end, ended with the server."""

import asyncio
from collections.abc import Awaitable, Callable

import psutil
import pytest

from jan.rendering.blocks import Rendered
from jan.rendering.renderer import Renderer

SLOW = "[" * 30_000
TITLE = '<h2 dir="auto">a</h2>'


def children() -> list[psutil.Process]:
    """The processes of renderers."""
    found = []
    for child in psutil.Process().children():
        try:
            if any("jan.rendering.child" in part for part in child.cmdline()):
                found.append(child)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def run(scenario: Callable[[Renderer], Awaitable[None]]) -> None:
    """Run a test with a renderer, which leaves no process."""

    async def main() -> None:
        renderer = Renderer()
        try:
            await scenario(renderer)
        finally:
            await renderer.close()
        assert children() == []

    asyncio.run(main())


def html_of(rendered: Rendered) -> list[str]:
    return [block.html for block in rendered.blocks]


def test_a_process_starts_when_it_is_needed_and_stays() -> None:
    async def scenario(renderer: Renderer) -> None:
        assert children() == []
        assert html_of(await renderer.render("# a")) == [TITLE]
        first = children()
        assert len(first) == 1
        assert html_of(await renderer.render("# a")) == [TITLE]
        assert children() == first

    run(scenario)


@pytest.mark.parametrize("waits", [True, False], ids=["seen", "unseen"])
def test_a_process_that_ended_while_it_was_idle_is_replaced(waits: bool) -> None:
    """Also if nobody has seen yet that it has."""

    async def scenario(renderer: Renderer) -> None:
        await renderer.render("# a")
        (child,) = children()
        child.kill()
        if waits:
            await asyncio.sleep(0.1)
        assert html_of(await renderer.render("# a")) == [TITLE]

    run(scenario)


def test_a_text_that_ends_its_process_is_shown_as_it_is_written() -> None:
    async def scenario(renderer: Renderer) -> None:
        reading = asyncio.create_task(renderer.render(SLOW))
        while not children():
            await asyncio.sleep(0.01)
        (child,) = children()
        child.kill()
        (html,) = html_of(await reading)
        assert html == f'<p class="plain" dir="auto">{SLOW}</p>'
        assert html_of(await renderer.render("# a")) == [TITLE]

    run(scenario)


def test_others_are_served_while_a_text_is_slow_and_after_its_reader_has_left() -> None:
    async def scenario(renderer: Renderer) -> None:
        reading = asyncio.create_task(renderer.render(SLOW))
        await asyncio.sleep(0)
        assert html_of(await renderer.render("# a")) == [TITLE]
        reading.cancel()
        await asyncio.wait({reading})
        assert [html_of(one) for one in await asyncio.gather(*(renderer.render("# a") for _ in range(9)))] == [
            [TITLE]
        ] * 9
        assert len(children()) <= 2

    run(scenario)
