"""The contract of backends: that of engines, and what slots, queue and cache add to it."""

import asyncio

import pytest

from jan.engine.base import Delta, Engine, Finished, Started
from jan.engine.iterate import events_of
from jan.errors import Unavailable
from jan.testing.engine_contract import CONTEXT, PROMPT, SLOTS, EngineContract
from jan.testing.engines import collect, text_request


class BackendContract(EngineContract):
    """The promises of every backend. It has four slots, a context of 64 tokens, and cache for four whole
    contexts."""

    #: False for a backend that keeps no account of a cache.
    has_cache = True

    def test_closing_frees_the_slot_within_one_step(self) -> None:
        """Half of the running jobs are closed: at most one more step runs before they are gone, and the others end
        well. On a busy machine the loop may miss a step between counting and closing, but not time after time."""

        async def steps_of_closing(engine: Engine) -> int:
            streams = [events_of(engine, text_request(PROMPT, max_tokens=40, **self.endless)) for _ in range(4)]
            for stream in streams:
                while not isinstance(await anext(stream), Delta):
                    pass
            before, cancelled, finished = engine.stats.steps, engine.stats.cancelled, engine.stats.finished
            await asyncio.gather(*(stream.aclose() for stream in streams[:2]))
            while engine.stats.cancelled < cancelled + 2:
                await asyncio.sleep(0)
            steps = engine.stats.steps - before
            rest = [[event async for event in stream][-1] for stream in streams[2:]]
            assert all(isinstance(end, Finished) for end in rest)
            assert engine.stats.finished == finished + 2
            return steps

        async def scenario(engine: Engine) -> None:
            for _ in range(5):
                steps = await steps_of_closing(engine)
                if steps <= 2:  # the one under way when closed, and the one of the count
                    return
            raise AssertionError(f"closing takes {steps} steps")

        self.run(scenario)

    def test_prompts_may_be_tokenised_on_any_thread(self) -> None:
        """A backend with ``tokenize`` may be called from several threads at once, and while it computes."""

        async def scenario(engine: Engine) -> None:
            texts = [f"{number} {PROMPT}" for number in range(12)]
            alone = [(await engine.prepare(text_request(text))).prompt_tokens for text in texts]
            running = events_of(engine, text_request(PROMPT, max_tokens=40, **self.endless))
            await anext(running)
            together = await asyncio.gather(*(engine.prepare(text_request(text)) for text in texts))
            assert [one.prompt_tokens for one in together] == alone
            await running.aclose()

        self.run(scenario)

    def test_the_cache_is_counted(self) -> None:
        """Running answers reserve cache; ended and cancelled ones none."""

        async def scenario(engine: Engine) -> None:
            cache = engine.info.cache
            if not self.has_cache:
                assert cache is None
                return
            assert cache is not None
            assert cache.total >= SLOTS * CONTEXT
            assert cache.used == 0
            streams = [
                events_of(engine, text_request(f"{n} {PROMPT}", max_tokens=40, **self.endless)) for n in range(3)
            ]
            for stream in streams:
                while not isinstance(await anext(stream), Delta):
                    pass
            assert 3 * 24 <= cache.used <= cache.total
            held = cache.used
            await streams[0].aclose()
            while engine.stats.cancelled < 1:
                await asyncio.sleep(0)
            assert 0 < cache.used < held
            for stream in streams[1:]:
                assert isinstance([event async for event in stream][-1], Finished)
            assert cache.used == 0

        self.run(scenario)

    def test_a_waiting_request_can_be_cancelled(self) -> None:
        """Closing a request that waits for a slot takes it out of the queue."""

        async def scenario(engine: Engine) -> None:
            streams = [events_of(engine, text_request(PROMPT, max_tokens=40, **self.endless)) for _ in range(5)]
            for stream in streams:
                assert isinstance(await anext(stream), Started)
            await streams[4].aclose()
            while engine.stats.cancelled < 1:
                await asyncio.sleep(0)
            assert engine.stats.waiting == 0
            for stream in streams[:4]:
                await stream.aclose()

        self.run(scenario)

    def test_a_full_queue_refuses(self) -> None:
        """Past max_waiting a request is refused as overloaded, before any event."""

        async def scenario(engine: Engine) -> None:
            streams = [events_of(engine, text_request(PROMPT, max_tokens=50, **self.endless)) for _ in range(5)]
            for stream in streams:
                await anext(stream)
            with pytest.raises(Unavailable) as refused:
                await collect(engine, text_request(PROMPT))
            assert refused.value.code == "overloaded"
            for stream in streams:
                await stream.aclose()

        self.run(scenario, max_waiting=1)

    def test_closing_the_engine_ends_every_request(self) -> None:
        """Running and waiting requests fail, and none hangs."""

        async def scenario(engine: Engine) -> None:
            tasks = [
                asyncio.create_task(collect(engine, text_request(PROMPT, max_tokens=50, **self.endless)))
                for _ in range(6)
            ]
            while engine.stats.running < 4:
                await asyncio.sleep(0)
            await engine.close()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert any(isinstance(end, Unavailable) for end in ends)
            assert all(isinstance(end, Unavailable | list) for end in ends)

        self.run(scenario)
