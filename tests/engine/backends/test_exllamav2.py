"""The ExLlamaV2 backend on the library's real generator, on the CPU."""

import asyncio
import gc
import json
import shutil
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.engine import collect, end_of, run_engine, text_of, text_request

pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("jan.engine.backends.exllama.v2", reason="ExLlamaV2 is not installed", exc_type=ImportError)
pytestmark = pytest.mark.torch

import numpy  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402
from support.exllamav2_cpu import any_device  # noqa: E402
from support.folder_models import TINY  # noqa: E402

from jan.engine.backends.exllama.v2 import ExLlamaV2Backend, ExLlamaV2Options  # noqa: E402
from jan.engine.backends.exllama.v2.options import LoraOptions  # noqa: E402
from jan.engine.backends.llamacpp import LlamaCppBackend, LlamaCppOptions  # noqa: E402
from jan.engine.backends.prefix_sharing import PrefixSharing  # noqa: E402
from jan.engine.base import (  # noqa: E402
    ChatPrompt,
    Delta,
    Event,
    Finished,
    GenerationRequest,
    Sampling,
    TextPrompt,
    TokenPrompt,
)
from jan.engine.formats import OutputFormat  # noqa: E402
from jan.engine.runtime.executor import ThreadedEngine  # noqa: E402
from jan.errors import InternalError, InvalidRequest  # noqa: E402
from jan.schema.messages import UserMessage  # noqa: E402
from jan.schema.tools import FunctionDefinition, Tool  # noqa: E402

Make = Callable[[], ExLlamaV2Backend]
GREEDY = Sampling(temperature=0)
LONG = "The quick brown fox jumps over the lazy dog. " * 60


def make(folder: Path, **options: Any) -> ExLlamaV2Backend:
    chosen = {"slots": 8, "context": 1024, "chunk": 256, **options}
    return ExLlamaV2Backend(ExLlamaV2Options(model=str(folder), **chosen), any_device())


@pytest.fixture(scope="module")
def loaded(tiny_folder: Path) -> Iterator[ExLlamaV2Backend]:
    backend = make(tiny_folder)
    backend.load(lambda part: None)
    yield backend
    backend.close()


def answer(backend: ExLlamaV2Backend, request: GenerationRequest) -> tuple[str, Finished]:
    """Run one request to its end, without an engine."""
    [result] = answers(backend, request)
    return result


def answers(backend: ExLlamaV2Backend, *requests: GenerationRequest) -> list[tuple[str, Finished]]:
    """Run requests side by side; returns text and end of each."""
    for job_id, request in enumerate(requests):
        job = backend.prepare(request)
        assert backend.has_room(job)
        backend.begin(job_id, job)
    texts, ends = [""] * len(requests), {}
    while len(ends) < len(requests):
        for job_id, output in backend.step():
            if isinstance(output, Delta):
                texts[job_id] += output.text
            else:
                assert isinstance(output, Finished), output
                ends[job_id] = output
    return [(text, ends[job_id]) for job_id, text in enumerate(texts)]


# --- the same model as llama.cpp's ---------------------------------------------------------------------------


@pytest.mark.model
def test_the_same_weights_give_the_same_text_as_llama_cpp(bundled_folder: Path) -> None:
    """Greedy answers of the bundled model begin alike from its folder and from its GGUF file, also with its chat
    template; the first token is about as likely. Later tokens may differ, because llama.cpp rounds each layer's
    input to eight bits."""
    prompts = ["The capital of France is", "Once upon a time", "1, 2, 3, 4,"]
    chat = ChatPrompt(messages=(UserMessage(content="Name a colour."),))
    limits: dict[str, Any] = {"logprobs": 0, "sampling": GREEDY}
    requests = [text_request(prompt, max_tokens=4, **limits) for prompt in prompts]
    requests.append(GenerationRequest(prompt=chat, max_tokens=2, **limits))

    async def scenario(engine: ThreadedEngine) -> list[tuple[str, int, float]]:
        results = [await collect(engine, request) for request in requests]
        return [(text_of(events), end_of(events).prompt_tokens, first_logprob(events)) for events in results]

    ours = run_engine(lambda: make(bundled_folder, slots=2, context=128), scenario)
    theirs = run_engine(lambda: LlamaCppBackend(LlamaCppOptions(slots=2, context=128)), scenario)
    assert [answered[:2] for answered in ours] == [answered[:2] for answered in theirs]
    assert [answered[2] for answered in ours] == pytest.approx([answered[2] for answered in theirs], abs=0.3)
    assert " Paris" in ours[0][0]


def first_logprob(events: list[Event]) -> float:
    return next(event.logprobs[0].logprob for event in events if isinstance(event, Delta) and event.logprobs)


# --- many at once --------------------------------------------------------------------------------------------


def test_eight_requests_that_begin_alike_share_their_pages(loaded: ExLlamaV2Backend) -> None:
    """An answer is the same side by side or alone, and the shared prefix is computed once."""
    requests = [text_request(f"{LONG} {number}", max_tokens=6, sampling=GREEDY) for number in range(8)]
    alone = [answer(loaded, request)[0] for request in requests]
    loaded.reset()
    together = answers_through_engine(loaded, requests)
    assert [text for text, _ in together] == alone
    cached = [end.cached_tokens for _, end in together]
    assert all(end.prompt_tokens > 2 * 256 for _, end in together)
    assert sum(tokens >= 2 * 256 for tokens in cached) >= 4
    assert max(cached) < together[0][1].prompt_tokens


def answers_through_engine(
    backend: ExLlamaV2Backend, requests: list[GenerationRequest]
) -> list[tuple[str, Finished]]:
    """Run requests as the executor does: a request without room waits."""
    waiting = list(enumerate(requests))
    texts, ends = [""] * len(requests), {}
    while len(ends) < len(requests):
        while waiting and backend.has_room(job := backend.prepare(waiting[0][1])):
            backend.begin(waiting.pop(0)[0], job)
        for job_id, output in backend.step():
            if isinstance(output, Delta):
                texts[job_id] += output.text
            else:
                assert isinstance(output, Finished), output
                ends[job_id] = output
    return [(text, ends[job_id]) for job_id, text in enumerate(texts)]


def test_no_more_prompts_are_read_at_once_than_configured(loaded: ExLlamaV2Backend) -> None:
    """While four prompts are in prefill, a fifth one waits, even if a slot and pages are free."""
    loaded.reset()
    jobs = [loaded.prepare(text_request(f"{number} {LONG}", max_tokens=2)) for number in range(5)]
    for job_id, job in enumerate(jobs[:4]):
        assert loaded.has_room(job)
        loaded.begin(job_id, job)
    assert not loaded.has_room(jobs[4])
    for job_id in range(4):
        loaded.cancel(job_id)
    assert loaded.has_room(jobs[4])


def test_pages_are_reserved_for_the_longest_answer(tiny_folder: Path) -> None:
    """A request that might not find its pages later does not begin; cancelling frees its pages."""
    backend = make(tiny_folder, slots=4, context=512, cache_tokens=1024)
    backend.load(lambda part: None)
    jobs = [backend.prepare(text_request(f"{number}", max_tokens=400)) for number in range(3)]
    for job_id, job in enumerate(jobs[:2]):
        assert backend.has_room(job)
        backend.begin(job_id, job)
    assert not backend.has_room(jobs[2])
    backend.cancel(0)
    assert backend.has_room(jobs[2])
    backend.close()


# --- whose pages they are ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def owned(tiny_folder: Path) -> Iterator[ExLlamaV2Backend]:
    backend = make(tiny_folder, cache_tokens=2048)
    backend.load(lambda part: None)
    yield backend
    backend.close()


def cached(backend: ExLlamaV2Backend, prompt: str | tuple[int, ...], owner: str, max_tokens: int = 2) -> int:
    anonymous = owner.startswith("ip:")
    made = TextPrompt(prompt) if isinstance(prompt, str) else TokenPrompt(prompt)
    request = GenerationRequest(
        prompt=made, owner=owner, anonymous=anonymous, max_tokens=max_tokens, sampling=GREEDY
    )
    return answer(backend, request)[1].cached_tokens


@pytest.mark.parametrize("prompt", [LONG, LONG[:400]], ids=["whole pages", "part of a page"])
def test_what_others_wrote_is_not_reused(owned: ExLlamaV2Backend, prompt: str) -> None:
    """By default, only the owner of a prompt finds it cached, in whole pages and in parts of one. Callers without
    credentials share theirs, and find nothing of known users."""
    owned.reset()
    assert cached(owned, prompt, "ann") == 0
    assert cached(owned, prompt, "bob") == 0
    assert cached(owned, prompt, "ann") > 50
    assert cached(owned, prompt, "bob") > 50
    assert cached(owned, prompt, "ip:10.0.0.1") == 0
    assert cached(owned, prompt, "ip:10.0.0.2") > 50


def test_what_all_share_is_reported_to_nobody(owned: ExLlamaV2Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``share_prefixes: all``, the number of cached tokens would tell what others wrote."""
    owned.reset()
    monkeypatch.setattr(owned, "_sharing", PrefixSharing("all"))
    assert [cached(owned, LONG, owner) for owner in ("ann", "bob", "ann")] == [0, 0, 0]
    monkeypatch.setattr(owned._sharing, "reported", lambda cached: cached)
    assert cached(owned, LONG, "cid") > 50  # it was reused all the same


def test_pages_that_were_taken_and_not_written_are_their_writers(owned: ExLlamaV2Backend) -> None:
    """A request that took another owner's old pages, and was cancelled before it wrote, leaves them unchanged."""
    owned.reset()
    prompt = LONG[:400]
    assert cached(owned, prompt, "ann") == 0
    long = GenerationRequest(prompt=TextPrompt("x"), owner="bob", max_tokens=1000)
    for job_id in (1, 2):  # together every page there is
        owned.begin(job_id, owned.prepare(long))
    assert not owned._generator.unreferenced_pages
    owned.cancel(1)
    owned.cancel(2)
    assert cached(owned, prompt, "bob") == 0
    assert cached(owned, prompt, "ann") > 50


def test_a_page_that_the_answer_filled_is_its_owners(owned: ExLlamaV2Backend) -> None:
    """The next turn of a conversation finds the last answer cached, but not if another owner sends it."""
    owned.reset()
    prompt = tuple(range(100, 300))
    ends = dict.fromkeys(owned._tokenizer.stop_tokens, -100.0)
    sampling = Sampling(temperature=0, logit_bias=ends)
    request = GenerationRequest(prompt=TokenPrompt(prompt), owner="ann", max_tokens=100, sampling=sampling)
    job = owned.prepare(request)
    owned.begin(1, job)
    while owned._running:
        owned.step()
    turn = tuple(job.library_job.sequences[0].sequence_ids.torch()[0].tolist())
    assert len(turn) == 300
    assert cached(owned, (*turn, 7), "bob") == 0
    assert cached(owned, (*turn, 7), "ann") >= 256


# --- sampling ------------------------------------------------------------------------------------------------


def test_a_seed_decides(loaded: ExLlamaV2Backend) -> None:
    """The same seed gives the same answer, alone or beside others; another seed gives another answer."""
    one = text_request("Hello", max_tokens=8, sampling=Sampling(seed=1))
    other = text_request("Hello", max_tokens=8, sampling=Sampling(seed=2))
    first = answer(loaded, one)[0]
    assert [text for text, _ in answers(loaded, other, one, other, one)][1::2] == [first, first]
    assert answer(loaded, other)[0] != first


@pytest.mark.parametrize("sampling", [Sampling(top_p=0.0), Sampling(top_k=1), Sampling(min_p=1.0)])
def test_the_narrowest_choice_is_the_likeliest_token(loaded: ExLlamaV2Backend, sampling: Sampling) -> None:
    """top_p 0 means the likeliest token, although it means off to the library."""
    greedy = answer(loaded, text_request("Hello", max_tokens=6, sampling=GREEDY))[0]
    assert answer(loaded, text_request("Hello", max_tokens=6, sampling=sampling))[0] == greedy


def test_bias_decides(loaded: ExLlamaV2Backend) -> None:
    """A raised token is drawn, and a forbidden one is not."""
    raised = Sampling(temperature=0, logit_bias={1000: 100.0})
    text, _ = answer(loaded, text_request("Hello", max_tokens=3, sampling=raised))
    assert text == loaded._tokenizer.text_of([1000] * 3)
    forbidden = Sampling(temperature=0, logit_bias={1000: 100.0, 1001: 100.0, 1002: -100.0} | {1000: -100.0})
    assert answer(loaded, text_request("Hello", max_tokens=2, sampling=forbidden))[0] == loaded._tokenizer.text_of(
        [1001] * 2
    )


@pytest.mark.parametrize(
    "penalty", [{"presence_penalty": 2.0}, {"frequency_penalty": 2.0}, {"repeat_penalty": 1.5}]
)
def test_penalties_count_the_answer_and_not_the_prompt(
    loaded: ExLlamaV2Backend, penalty: dict[str, float]
) -> None:
    """Of two nearly equal tokens, the likelier one comes first, although the prompt has it; then the other one."""
    bias = {2000: 100.5, 2001: 100.0}
    request = GenerationRequest(
        prompt=TokenPrompt((5, 2000, 2000, 2000)),
        max_tokens=2,
        sampling=Sampling(temperature=0, logit_bias=bias, **penalty),
        logprobs=2,
    )
    loaded.reset()
    loaded.begin(1, loaded.prepare(request))
    taken: list[int] = []
    real = loaded._add_token

    def spy(running: Any, sampled: Any) -> Any:
        taken.append(sampled.token)
        return real(running, sampled)

    loaded._add_token = spy  # type: ignore[method-assign]
    while loaded._running:
        loaded.step()
    del loaded._add_token
    assert taken == [2000, 2001]


def test_logprobs_are_the_models_own(loaded: ExLlamaV2Backend) -> None:
    """Log probabilities are the model's own, before bias and penalties; the likeliest tokens come in order."""
    plain, biased = (
        outputs_of(loaded, text_request("Hello", max_tokens=1, logprobs=5, sampling=sampling))
        for sampling in (GREEDY, Sampling(temperature=0, logit_bias={1000: 100.0}))
    )
    assert plain.top_logprobs == biased.top_logprobs
    values = [top.logprob for top in plain.top_logprobs]
    assert values == sorted(values, reverse=True)
    assert plain.logprob == values[0]
    assert biased.logprob < values[4]
    assert bytes(biased.bytes or ()) == loaded._tokenizer.pieces[1000]


def outputs_of(backend: ExLlamaV2Backend, request: GenerationRequest) -> Any:
    """Return the log probability of a one-token answer."""
    backend.begin(1, backend.prepare(request))
    while True:
        for _, output in backend.step():
            if isinstance(output, Delta) and output.logprobs:
                [logprob] = output.logprobs
                return logprob


# --- ends ----------------------------------------------------------------------------------------------------


def test_a_stop_string_over_the_edge_of_tokens_ends_the_answer(loaded: ExLlamaV2Backend) -> None:
    """The text ends before the stop string, and no part of it is sent."""
    request = text_request("Hello", max_tokens=12, sampling=GREEDY)
    loaded.begin(1, loaded.prepare(request))
    pieces = []
    while loaded._running:
        pieces += [output.text for _, output in loaded.step() if isinstance(output, Delta) and output.text]
    whole = "".join(pieces)
    at = len(pieces[0]) + len(pieces[1]) - 1
    stop = whole[at : at + 2]  # the last character of one token and the first of the next
    text, end = answer(loaded, text_request("Hello", max_tokens=12, stop=(stop,), sampling=GREEDY))
    assert (text, end.reason) == (whole[: whole.index(stop)], "stop")


def test_a_stop_token_ends_the_answer(loaded: ExLlamaV2Backend) -> None:
    """A stop token ends the answer and is not part of it."""
    [end_token, *_] = loaded._tokenizer.stop_tokens
    sampling = Sampling(temperature=0, logit_bias={end_token: 100.0})
    text, end = answer(loaded, text_request("Hello", max_tokens=12, sampling=sampling))
    assert (text, end.reason, end.completion_tokens) == ("", "stop", 0)


def test_oversize_is_refused_before_the_library_sees_it(loaded: ExLlamaV2Backend) -> None:
    """A prompt longer than the context, unknown token ids, and megabytes of text are refused."""
    with pytest.raises(InvalidRequest, match="resulted in 1025 tokens") as refused:
        loaded.prepare(GenerationRequest(prompt=TokenPrompt((5,) * 1025)))
    assert refused.value.code == "context_length_exceeded"
    with pytest.raises(InvalidRequest, match="at least"):
        loaded.prepare(text_request("x" * 3_000_000))
    with pytest.raises(InvalidRequest, match="Token ids must be below 4096"):
        loaded.prepare(GenerationRequest(prompt=TokenPrompt((4096,))))
    with pytest.raises(InvalidRequest, match="logit_bias"):
        loaded.prepare(text_request("a", sampling=Sampling(logit_bias={4096: 1.0})))


def test_the_context_is_used_to_its_last_token(loaded: ExLlamaV2Backend) -> None:
    """Prompt and answer fill the context exactly."""
    prompt = TokenPrompt(tuple(range(100, 1100)))
    sampling = Sampling(temperature=0, logit_bias=dict.fromkeys(loaded._tokenizer.stop_tokens, -100.0))
    _, end = answer(loaded, GenerationRequest(prompt=prompt, sampling=sampling))
    assert (end.prompt_tokens, end.completion_tokens, end.reason) == (1000, 24, "length")


# --- output formats ------------------------------------------------------------------------------------------

COLOUR = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "green"]}, "count": {"enum": [1, 2]}},
    "required": ["colour", "count"],
    "additionalProperties": False,
}


def test_json_schemas_hold(loaded: ExLlamaV2Backend) -> None:
    """Even random weights answer by the schema, five at once beside free answers."""
    output = OutputFormat(json_schema=json.dumps(COLOUR))
    bound = [
        text_request("Hello", max_tokens=60, output=output, sampling=Sampling(seed=seed)) for seed in range(5)
    ]
    free = text_request("Hello", max_tokens=10, sampling=GREEDY)
    alone = answer(loaded, free)[0]
    *results, (text, _) = answers_through_engine(loaded, [*bound, free])
    for answered, end in results:
        value = json.loads(answered)
        assert value["colour"] in ("red", "green")
        assert value["count"] in (1, 2)
        assert end.reason == "stop"
    assert text == alone


def test_tool_calls_are_enforced_and_parsed(loaded: ExLlamaV2Backend) -> None:
    """A required call comes out as name and arguments, not as text."""
    tool = Tool(type="function", function=FunctionDefinition(name="paint", parameters=COLOUR))
    output = OutputFormat(callable_tools=(tool,), must_call=True, parallel_calls=False)
    request = GenerationRequest(
        prompt=ChatPrompt(messages=(UserMessage(content="Paint it."),), tools=(tool,)),
        max_tokens=80,
        output=output,
    )
    loaded.begin(1, loaded.prepare(request))
    total, ends = Delta(), []
    while loaded._running:
        for _, made in loaded.step():
            if isinstance(made, Delta):
                total = total.merge(made)
            else:
                ends.append(made)
    [end] = ends
    assert isinstance(end, Finished)
    assert (end.reason, total.text.strip()) == ("tool_calls", "")
    assert total.tool_calls[0].name == "paint"
    assert json.loads("".join(call.arguments for call in total.tool_calls))["count"] in (1, 2)


LLAMA = (
    "{{ tools }}{% for m in messages %}<|start_header_id|>{{ m.role }}\n{% if m.tool_calls %}"
    '{"name": "{{ m.tool_calls[0].function.name }}", "parameters": '
    "{{ m.tool_calls[0].function.arguments | tojson }}}{% else %}{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant\n{% endif %}"
)
THINKING = "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}<think>\n"


def with_template(folder: Path, source: str, to: Path) -> Path:
    """Return a copy of the folder with another chat template."""
    shutil.copytree(folder, to)
    (to / "chat_template.jinja").write_text(source)
    return to


def test_tool_calls_are_written_as_the_template_shows_or_the_option_says(
    tiny_folder: Path, tmp_path: Path
) -> None:
    """Grammar and parser use the form that the template shows or the option sets."""
    folder = with_template(tiny_folder, LLAMA, tmp_path / "llama")
    tool = Tool(type="function", function=FunctionDefinition(name="paint", parameters=COLOUR))
    output = OutputFormat(callable_tools=(tool,), must_call=True, parallel_calls=False)
    request = GenerationRequest(
        prompt=ChatPrompt(messages=(UserMessage(content="Paint it."),), tools=(tool,)),
        max_tokens=80,
        output=output,
        sampling=GREEDY,
    )
    for options, form in (({}, "llama3"), ({"tool_format": "hermes"}, "hermes")):
        backend = make(folder, slots=1, **options)
        backend.load(lambda part: None)
        job = backend.prepare(request)
        assert job.dialect.tools == form
        backend.begin(1, job)
        total = Delta()
        while backend._running:
            for _, made in backend.step():
                total = total.merge(made) if isinstance(made, Delta) else total
        assert total.tool_calls[0].name == "paint"
        assert json.loads("".join(call.arguments for call in total.tool_calls))["count"] in (1, 2)
        backend.close()


@pytest.mark.parametrize(("reasoning", "told_apart"), [("auto", True), ("off", False)])
def test_reasoning_that_the_template_begins_is_told_apart_unless_off(
    tiny_folder: Path, tmp_path: Path, reasoning: str, told_apart: bool
) -> None:
    """The answer begins inside the reasoning block; a text prompt has no reasoning."""
    backend = make(with_template(tiny_folder, THINKING, tmp_path / "thinking"), slots=1, reasoning=reasoning)
    backend.load(lambda part: None)
    chat = ChatPrompt(messages=(UserMessage(content="Hi"),))
    for prompt, expected in ((chat, told_apart), (TextPrompt("<think>"), False)):
        sampling = Sampling(temperature=0, logit_bias=dict.fromkeys(backend._tokenizer.stop_tokens, -100.0))
        backend.begin(1, backend.prepare(GenerationRequest(prompt=prompt, max_tokens=6, sampling=sampling)))
        total = Delta()
        while backend._running:
            for _, made in backend.step():
                total = total.merge(made) if isinstance(made, Delta) else total
        assert bool(total.reasoning) == expected
        assert bool(total.text) != expected
    backend.close()


# --- guessing ahead ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["draft model", "n-grams"])
def test_guessing_ahead_changes_no_answer(loaded: ExLlamaV2Backend, tiny_folder: Path, how: str) -> None:
    """With a draft model or n-grams, a greedy answer has the same tokens: to the limit, to a stop string, under a
    schema. The context is used to its last token."""
    drafting = {"draft_model": str(tiny_folder)} if how == "draft model" else {"ngram_draft": True}
    backend = make(tiny_folder, **drafting)
    backend.load(lambda part: None)
    plain = text_request("one two one two one two", max_tokens=20, sampling=GREEDY)
    whole = answer(loaded, plain)[0]
    stop = whole[len(whole) // 2 :][:3]
    output = OutputFormat(json_schema=json.dumps(COLOUR))
    requests = [
        plain,
        text_request("one two one two one two", max_tokens=20, stop=(stop,), sampling=GREEDY),
        text_request("Hello", max_tokens=60, output=output, sampling=GREEDY),
    ]
    expected = answers(loaded, *requests)
    got = answers(backend, *requests)
    assert [(text, end.reason, end.completion_tokens) for text, end in got] == [
        (text, end.reason, end.completion_tokens) for text, end in expected
    ]
    prompt = TokenPrompt(tuple(range(100, 1100)))
    sampling = Sampling(temperature=0, logit_bias=dict.fromkeys(backend._tokenizer.stop_tokens, -100.0))
    _, end = answer(backend, GenerationRequest(prompt=prompt, sampling=sampling))
    assert (end.completion_tokens, end.reason) == (24, "length")
    backend.close()


# --- adapters ------------------------------------------------------------------------------------------------


def write_lora(folder: Path, scale: float) -> Path:
    """Write a LoRA adapter of random weights for the first layer's query projection."""
    random = numpy.random.default_rng(1)
    folder.mkdir()
    config = {"r": 4, "lora_alpha": 4, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    name = "base_model.model.model.layers.0.self_attn.q_proj"
    parts = {"lora_A": (4, TINY["hidden_size"]), "lora_B": (TINY["hidden_size"], 4)}
    weights = {
        f"{name}.{part}.weight": (random.standard_normal(shape) * scale).astype(numpy.float16)
        for part, shape in parts.items()
    }
    save_file(weights, folder / "adapter_model.safetensors")
    return folder


def test_an_adapter_changes_the_answer(loaded: ExLlamaV2Backend, tiny_folder: Path, tmp_path: Path) -> None:
    """An adapter changes the probabilities; an adapter of zeros changes nothing."""
    request = text_request("one two three four", max_tokens=1, logprobs=3, sampling=GREEDY)
    plain = outputs_of(loaded, request).top_logprobs
    for name, scale, changes in (("zeros", 0.0, False), ("weight", 2.0, True)):
        lora = LoraOptions(folder=str(write_lora(tmp_path / name, scale)))
        backend = make(tiny_folder, loras=(lora,), context=256, slots=2)
        backend.load(lambda part: None)
        adapted = outputs_of(backend, request).top_logprobs
        assert (adapted != plain) == changes
        backend.close()


# --- failures ------------------------------------------------------------------------------------------------


def test_an_exception_in_a_step_fails_the_jobs_and_the_engine_goes_on(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All running jobs fail. The next request is answered, without reusing anything half computed."""
    backend = make(tiny_folder)

    async def scenario(engine: ThreadedEngine) -> None:
        request = text_request(LONG, max_tokens=8, sampling=GREEDY)
        before = text_of(await collect(engine, request))
        model = backend._generator.model
        real = model.forward_chunk

        def broken(*arguments: Any, **named: Any) -> Any:
            raise RuntimeError("CUDA error: pretended")

        monkeypatch.setattr(model, "forward_chunk", broken)
        failed = await asyncio.gather(
            *(collect(engine, text_request(f"{n}{LONG}", max_tokens=8)) for n in range(3)), return_exceptions=True
        )
        assert all(isinstance(error, InternalError) for error in failed)
        monkeypatch.setattr(model, "forward_chunk", real)
        events = await collect(engine, request)
        assert text_of(events) == before
        assert end_of(events).cached_tokens == 0
        assert engine.healthy

    run_engine(lambda: backend, scenario)


def test_a_closed_model_gives_its_cache_back(tiny_folder: Path) -> None:
    """The cache is freed even if the garbage collector ignores objects from start-up, because a restart needs the
    memory."""
    backend = make(tiny_folder, slots=2, context=256)
    backend.load(lambda part: None)
    keys = [weakref.ref(tensor) for tensor in backend._loaded.generator.cache.key_states]
    try:
        gc.freeze()
        backend.close()
        assert keys
        assert [key() for key in keys if key() is not None] == []
    finally:
        gc.unfreeze()


def test_the_librarys_samplers_are_set() -> None:
    """Each parameter reaches the library's setting of it; without any, all of them are off."""
    from jan.engine.backends.exllama.v2.generation import settings_of as settings

    plain = settings(Sampling())
    assert (plain.temperature, plain.top_k, plain.typical, plain.mirostat, plain.max_temp) == (
        1.0,
        0,
        0,
        False,
        0.0,
    )
    assert (plain.xtc_probability, plain.dry_multiplier, plain.token_repetition_penalty) == (0.0, 0.0, 1.0)
    chosen = settings(
        Sampling(temperature=0.5, dynatemp_range=0.7, dynatemp_exponent=2.0, typical_p=0.9, xtc_probability=0.4)
    )
    assert (chosen.temperature, chosen.min_temp, chosen.max_temp, chosen.temp_exponent) == (1.0, 0.0, 1.2, 2.0)
    assert (chosen.typical, chosen.xtc_probability, chosen.xtc_ignore_tokens) == (0.9, 0.4, frozenset())
    surprise = settings(Sampling(mirostat=2, mirostat_tau=3.0, mirostat_eta=0.2))
    assert (surprise.mirostat, surprise.mirostat_tau, surprise.mirostat_eta) == (True, 3.0, 0.2)


def test_bans_and_ends_hold(loaded: ExLlamaV2Backend) -> None:
    """Ends that are ignored or come too early are not drawn; a stop token of the request's own ends the answer."""
    ends = tuple(loaded._tokenizer.stop_tokens)
    certain = Sampling(temperature=0, logit_bias={ends[0]: 100.0})
    asked = {"prompt": TextPrompt("Once"), "max_tokens": 6}
    free, _ = ended_by(loaded, GenerationRequest(sampling=certain, **asked))
    assert free.completion_tokens == 0
    least, _ = ended_by(loaded, GenerationRequest(sampling=certain, min_tokens=3, **asked))
    assert least.completion_tokens == 3
    forever, reason = ended_by(loaded, GenerationRequest(sampling=certain, ignore_eos=True, **asked))
    assert (forever.completion_tokens, reason) == (6, "length")
    other = Sampling(temperature=0, logit_bias={77: 100.0})
    ended, reason = ended_by(loaded, GenerationRequest(sampling=other, stop_tokens=(77,), **asked))
    assert (ended.completion_tokens, reason) == (0, "stop")


def ended_by(backend: ExLlamaV2Backend, request: GenerationRequest) -> tuple[Finished, str]:
    """The end of one answer."""
    backend.begin(1, backend.prepare(request))
    while True:
        for _, output in backend.step():
            if isinstance(output, Finished):
                return output, output.reason
