"""The `openai` Python SDK of today against the echo models: answers and streams, sync and async."""

import asyncio
from collections.abc import Iterator

import openai
import pytest
from support.patience import until
from support.sdk import (
    REQUEST_ID,
    TEXT,
    WORDS,
    StartServer,
    ask,
    connect,
    connect_async,
    measured,
    reasons,
    running,
    said,
)
from support.server import MODEL, ServerProcess

pytestmark = pytest.mark.sdk


@pytest.fixture(scope="module")
def client(echo_server: ServerProcess) -> Iterator[openai.OpenAI]:
    with connect(echo_server) as client:
        yield client


# --- models -----------------------------------------------------------------------------------------


def test_models_are_listed(client: openai.OpenAI) -> None:
    """models.list() gives every name that a request may use, as Model objects."""
    models = list(client.models.list())
    assert {MODEL, "echo"} <= {model.id for model in models}
    assert {(model.object, model.owned_by) for model in models} == {("model", "jan")}


def test_a_model_is_retrieved(client: openai.OpenAI) -> None:
    """models.retrieve() gives one of them by its name."""
    model = client.models.retrieve(MODEL)
    assert (model.id, model.object) == (MODEL, "model")
    assert model.created > 0


# --- chat -------------------------------------------------------------------------------------------


def test_chat_answers(client: openai.OpenAI) -> None:
    """A completion carries text, role, finish reason, the model's name as asked for, and token counts."""
    completion = client.chat.completions.create(**ask(temperature=0.7, max_tokens=100))
    (choice,) = completion.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", TEXT, "stop")
    assert (completion.object, completion.model) == ("chat.completion", MODEL)
    assert completion.usage is not None
    assert (completion.usage.completion_tokens, completion.usage.total_tokens) == (WORDS, 2 * WORDS)


def test_the_sdks_own_message_objects_are_taken(client: openai.OpenAI) -> None:
    """An answer's message object can be sent back as part of the conversation, as the SDK's guides do."""
    first = client.chat.completions.create(**ask())
    messages = [{"role": "developer", "content": "Be brief."}, first.choices[0].message]
    parts = {"role": "user", "content": [{"type": "text", "text": "And "}, {"type": "text", "text": "now?"}]}
    second = client.chat.completions.create(model=MODEL, messages=[*messages, parts])
    assert second.choices[0].message.content == "And now?"


def test_several_choices(client: openai.OpenAI) -> None:
    """n=2 gives two choices, numbered from 0; the prompt's tokens are counted once."""
    completion = client.chat.completions.create(**ask(n=2))
    assert [(choice.index, choice.message.content) for choice in completion.choices] == [(0, TEXT), (1, TEXT)]
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (WORDS, 2 * WORDS)


def test_max_tokens_ends_with_length(client: openai.OpenAI) -> None:
    """An answer that is cut by max_completion_tokens says so in its finish reason."""
    (choice,) = client.chat.completions.create(**ask(max_completion_tokens=2)).choices
    assert (choice.message.content, choice.finish_reason) == ("How are ", "length")


def test_request_id_and_timing_reach_the_caller(client: openai.OpenAI) -> None:
    """The response's request id is the server's, or the caller's own; the processing time is a header."""
    assert REQUEST_ID.fullmatch(client.chat.completions.create(**ask())._request_id or "")
    raw = client.chat.completions.with_raw_response.create(**ask(), extra_headers={"X-Request-Id": "mine-1"})
    assert raw.parse()._request_id == "mine-1"
    assert raw.headers["openai-processing-ms"].isdigit()


# --- streams ----------------------------------------------------------------------------------------


def test_stream_adds_up(client: openai.OpenAI) -> None:
    """A stream's deltas add up to the text; its chunks share one id, and one of them has the finish reason.
    Usage comes only when it is asked for."""
    with client.chat.completions.create(**ask(), stream=True) as stream:
        chunks = list(stream)
    assert said(chunks) == TEXT
    assert reasons(chunks) == [(0, "stop")]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


def test_stream_with_usage(client: openai.OpenAI) -> None:
    """With include_usage the last chunk, and no other, has the token counts, and no choices."""
    with client.chat.completions.create(**ask(), stream=True, stream_options={"include_usage": True}) as stream:
        *chunks, last = stream
    assert said(chunks) == TEXT
    assert all(chunk.usage is None for chunk in chunks)
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (WORDS, WORDS)


def test_stream_of_several_choices(client: openai.OpenAI) -> None:
    """Streamed choices are told apart by their index, and each has its own end."""
    with client.chat.completions.create(**ask(n=2), stream=True) as stream:
        chunks = list(stream)
    assert [said(chunks, index) for index in (0, 1)] == [TEXT, TEXT]
    assert sorted(reasons(chunks)) == [(0, "stop"), (1, "stop")]


def test_stream_helper(client: openai.OpenAI) -> None:
    """The SDK's stream helper finds its events in our chunks and collects the completion from them."""
    with client.chat.completions.stream(**ask(), stream_options={"include_usage": True}) as stream:
        events = list(stream)
        completion = stream.get_final_completion()
    assert "".join(event.delta for event in events if event.type == "content.delta") == TEXT
    assert [event.content for event in events if event.type == "content.done"] == [TEXT]
    assert (completion.choices[0].message.content, completion.choices[0].finish_reason) == (TEXT, "stop")
    assert completion.usage is not None
    assert completion.usage.total_tokens == 2 * WORDS


def test_keep_alive_comments_are_no_events(start_server: StartServer) -> None:
    """Comments that keep a silent stream open pass the SDK unseen."""
    server = start_server(
        "server: {keepalive_seconds: 0.05}\nmodels: [{id: pausing, engine: echo, options: {step_seconds: 0.3}}]"
    )
    with connect(server) as client:
        request = ask("one two three", model="pausing", stream=True)
        with client.chat.completions.with_streaming_response.create(**request) as raw:
            assert ": keep-alive" in list(raw.iter_lines())
        with client.chat.completions.create(**request) as stream:
            assert said(stream) == "one two three"


def test_leaving_a_stream_frees_its_slot(client: openai.OpenAI, echo_server: ServerProcess) -> None:
    """Closing a stream before its end stops the generation and frees its slot."""
    cancelled = measured(echo_server, "jan_engine_cancelled_total", model="slow")
    with client.chat.completions.create(**ask("word " * 1000, model="slow"), stream=True) as stream:
        assert "word" in said(next(stream) for _ in range(3))
        assert running(echo_server, "slow") == 1
    assert until(lambda: running(echo_server, "slow") == 0)
    assert measured(echo_server, "jan_engine_cancelled_total", model="slow") == cancelled + 1


# --- text completions -------------------------------------------------------------------------------


def test_completions(client: openai.OpenAI) -> None:
    """The text endpoint answers each prompt of a list with a choice of its own."""
    completion = client.completions.create(model=MODEL, prompt=["one two", "three"], max_tokens=1)
    assert completion.object == "text_completion"
    assert [(c.index, c.text, c.finish_reason) for c in completion.choices] == [
        (0, "one ", "length"),
        (1, "three", "stop"),
    ]
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (3, 2)


def test_completions_stream(client: openai.OpenAI) -> None:
    """A streamed text adds up to the same, with one finish reason."""
    with client.completions.create(model=MODEL, prompt=TEXT, stream=True) as stream:
        choices = [choice for piece in stream for choice in piece.choices]
    assert "".join(choice.text for choice in choices) == TEXT
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]


# --- the asynchronous client ------------------------------------------------------------------------


def test_async_calls(echo_server: ServerProcess) -> None:
    """The asynchronous client gets the same models, answers and errors."""

    async def main() -> None:
        async with connect_async(echo_server) as client:
            assert MODEL in [model.id async for model in client.models.list()]
            completion = await client.chat.completions.create(**ask())
            assert completion.choices[0].message.content == TEXT
            with pytest.raises(openai.BadRequestError) as caught:
                await client.chat.completions.create(**ask(temperature=3))
            assert caught.value.param == "temperature"

    asyncio.run(main())


def test_async_streams(echo_server: ServerProcess) -> None:
    """Asynchronous streams and the stream helper add up to the text; many run at once, each to its own."""

    async def stream(client: openai.AsyncOpenAI, text: str) -> str:
        async with await client.chat.completions.create(**ask(text), stream=True) as chunks:
            return said([chunk async for chunk in chunks])

    async def main() -> None:
        async with connect_async(echo_server) as client:
            texts = [f"This is stream number {number}" for number in range(8)]
            assert await asyncio.gather(*(stream(client, text) for text in texts)) == texts
            async with client.chat.completions.stream(**ask()) as helper:
                completion = await helper.get_final_completion()
            assert completion.choices[0].message.content == TEXT

    asyncio.run(main())


def test_cancelling_a_task_frees_its_slot(echo_server: ServerProcess) -> None:
    """Cancelling the task that waits for an answer, not streamed, stops the generation as well."""
    cancelled = measured(echo_server, "jan_engine_cancelled_total", model="slow")

    async def main() -> None:
        async with connect_async(echo_server) as client:
            request = client.chat.completions.create(**ask("word " * 1000, model="slow"))
            task = asyncio.create_task(request)
            assert await asyncio.to_thread(until, lambda: running(echo_server, "slow") == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert until(lambda: running(echo_server, "slow") == 0)
    assert measured(echo_server, "jan_engine_cancelled_total", model="slow") == cancelled + 1
