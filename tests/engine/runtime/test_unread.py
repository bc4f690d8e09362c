"""Events that readers slower than the model have not read yet."""

import asyncio

import msgspec

from jan.engine.base import Delta, Finished, Started, ToolCallFragment
from jan.engine.runtime.unread import UnreadEvents
from jan.schema.sampling import TokenLogprob

_LOGPROB = TokenLogprob(token="x", logprob=-1.0, bytes=[120], top_logprobs=[])


def test_nothing_is_lost_or_changed_while_nobody_reads() -> None:
    """Unread deltas become one with its parts: every character, call, probability and count, in order."""
    call = ToolCallFragment(index=0, arguments="{")
    end = Finished(reason="stop", prompt_tokens=1, completion_tokens=4)

    async def scenario() -> None:
        unread = UnreadEvents()
        unread.put(Started(prompt_tokens=1))
        parts = (
            Delta(text="a\r", tokens=1),
            Delta(text="\n\u2028é😀", logprobs=(_LOGPROB,), tokens=1),
            Delta(tool_calls=(call, call), tokens=2),
        )
        for part in parts:
            unread.put(part)
        unread.put(end)
        whole = Delta(text="a\r\n\u2028é😀", tool_calls=(call, call), logprobs=(_LOGPROB,), tokens=4, parts=parts)
        assert unread.take() == [Started(prompt_tokens=1), whole, end]
        assert not unread

    asyncio.run(scenario())


def test_a_long_answer_that_nobody_reads_does_not_hold_up_the_event_loop() -> None:
    """The cost of a token does not depend on how much of its answer is unread."""
    tokens = 200_000

    async def scenario() -> None:
        unread = UnreadEvents()
        for number in range(tokens):
            unread.put(Delta(text="x", logprobs=(_LOGPROB,) * 5, tokens=1))
            if number % 100 == 0:
                await asyncio.sleep(0)
        [whole] = unread.take()
        assert isinstance(whole, Delta)
        assert (len(whole.text), len(whole.logprobs), whole.tokens) == (tokens, 5 * tokens, tokens)
        # The newest parts are kept apart. Older ones are merged in large numbers, so they take little room.
        assert whole.parts[-1].tokens == 1
        assert len(whole.parts) < 2000
        assert Delta.sum(whole.parts) == msgspec.structs.replace(whole, parts=())

    asyncio.run(asyncio.wait_for(scenario(), 60))
