"""Every parameter has its effect, on the real model."""

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import jsonschema
import pytest
from support.model import alike
from support.server import DEFAULT_CONFIG, MODEL, ServerProcess, http_client

pytestmark = pytest.mark.model

CHAT = "/api/v1/chat/completions"
COMPLETIONS = "/api/v1/completions"
CONTEXT = 64
# Token ids of SmolLM2.
END = 2
WORD, OTHER_WORD = 260, 353


def question(subject: str = "the sea") -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Tell me about {subject}."}]


def chat(client: httpx.Client, **parameters: Any) -> Any:
    body = {"model": MODEL, "messages": question(), "max_tokens": 12, **parameters}
    response = client.post(CHAT, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def complete(client: httpx.Client, **parameters: Any) -> Any:
    body = {"model": MODEL, "prompt": "The sea is", "max_tokens": 12, **parameters}
    response = client.post(COMPLETIONS, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def said(answer: Any, index: int = 0) -> str:
    choice = answer["choices"][index]
    return str(choice["message"]["content"] if "message" in choice else choice["text"])


@pytest.fixture
def text(model: httpx.Client) -> Callable[..., str]:
    """The text of a chat's answer, about a subject if need be."""
    return lambda subject="the sea", **parameters: said(chat(model, messages=question(subject), **parameters))


@pytest.fixture
def opening(text: Callable[..., str]) -> Callable[..., str]:
    """The first words of an answer: each more is a draw that the last bits of the logits may tip."""
    return lambda subject, **parameters: text(subject, max_tokens=4, **parameters)


# --- sampling ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [
        {"seed": 1},
        {"seed": 0},
        {"seed": -1},
        {"seed": 2**63 - 1},
        {"seed": -(2**63)},
        {"seed": 5, "temperature": 1.7, "top_p": 0.8, "top_k": 30, "min_p": 0.02},
        {"seed": 5, "presence_penalty": 1, "frequency_penalty": 1, "repeat_penalty": 1.2},
        {"seed": 5, "response_format": {"type": "json_object"}},
    ],
    ids=str,
)
def test_one_seed_one_answer(opening: Callable[..., str], parameters: dict[str, Any]) -> None:
    """The same request with the same seed gives the same text."""
    assert alike(lambda about: opening(about, **parameters), lambda about: opening(about, **parameters))


def test_seeds_differ(text: Callable[..., str]) -> None:
    """Different seeds, and none, give different texts."""
    assert len({text(seed=seed) for seed in range(4)}) > 1
    assert len({text() for _ in range(4)}) > 1


def test_temperature_zero_is_deterministic(opening: Callable[..., str]) -> None:
    """At temperature 0 the seed does not matter."""
    assert alike(
        lambda about: opening(about, temperature=0, seed=1), lambda about: opening(about, temperature=0, seed=2)
    )
    assert alike(lambda about: opening(about, temperature=0), lambda about: opening(about, temperature=0))


@pytest.mark.parametrize("parameters", [{"top_k": 1}, {"top_p": 0}, {"min_p": 1}], ids=str)
def test_the_narrowest_choice_is_greedy(opening: Callable[..., str], parameters: dict[str, Any]) -> None:
    """top_k 1, top_p 0 and min_p 1 leave the likeliest token only, as temperature 0 does."""
    assert alike(lambda about: opening(about, **parameters, seed=3), lambda about: opening(about, temperature=0))


def test_top_k_zero_and_neutral_values_change_nothing(opening: Callable[..., str]) -> None:
    """The documented defaults, given explicitly, give the same answer as a request without them."""
    neutral = {"temperature": 1, "top_p": 1, "top_k": 0, "min_p": 0, "presence_penalty": 0, "n": 1}
    neutral |= {"frequency_penalty": 0, "repeat_penalty": 1, "logit_bias": {}, "stop": [], "user": "me"}
    nulls = dict.fromkeys(neutral)
    assert alike(
        lambda about: opening(about, **neutral, metadata={"a": "b"}, seed=11),
        lambda about: opening(about, seed=11),
    )
    assert alike(lambda about: opening(about, **nulls, seed=11), lambda about: opening(about, seed=11))


def test_unknown_fields_change_nothing(opening: Callable[..., str]) -> None:
    """Fields that this server does not know, and those that ask for nothing, are ignored."""
    unknown = {"store": False, "service_tier": "auto", "reasoning_effort": "low", "x": [1]}
    assert alike(lambda about: opening(about, seed=11, **unknown), lambda about: opening(about, seed=11))


def test_logit_bias_forces_and_forbids(model: httpx.Client) -> None:
    """A bias of 100 makes a token certain, one of -100 impossible."""
    word = said(complete(model, prompt=[WORD], echo=True, max_tokens=0))
    for sampling in ({"temperature": 0}, {"seed": 5}, {"temperature": 2}):
        forced = said(complete(model, logit_bias={str(WORD): 100}, max_tokens=3, **sampling))
        assert forced == word * 3
        both = {str(WORD): 100, str(OTHER_WORD): 100}
        chosen = complete(model, prompt=[WORD] * 8, logit_bias=both, max_tokens=3, **sampling)
        without = {str(WORD): -100, str(OTHER_WORD): 100}
        other = complete(model, prompt=[WORD] * 8, logit_bias=without, max_tokens=3, **sampling)
        assert word in said(chosen)
        assert word not in said(other)


def different_words(client: httpx.Client, **parameters: Any) -> int:
    """Count the different words of greedy answers that invite repetition. Of several together: what a single one
    says depends on the last digits of the model's arithmetic."""
    prompts = [f"{word} " * 7 + word for word in ("no", "ha", "one two", "red blue", "yes sir")]
    body = {"temperature": 0, "max_tokens": 24, "logit_bias": {str(END): -100}, **parameters}
    answer = complete(client, prompt=prompts, **body)
    return sum(len(set(said(answer, index).split())) for index in range(len(prompts)))


@pytest.fixture(scope="module")
def words_without_penalties(model: httpx.Client) -> int:
    return different_words(model)


@pytest.mark.parametrize(
    "parameters",
    [{"presence_penalty": 2}, {"frequency_penalty": 2}, {"repeat_penalty": 1.5}],
    ids=str,
)
def test_penalties_stop_repetition(
    model: httpx.Client, words_without_penalties: int, parameters: dict[str, Any]
) -> None:
    """Greedy answers that repeat themselves do so less with any of the penalties."""
    assert different_words(model, **parameters) > words_without_penalties


def test_negative_penalties_invite_repetition(text: Callable[..., str]) -> None:
    """A negative penalty is a reward: the text changes."""
    assert text(temperature=0, frequency_penalty=-2, max_tokens=24) != text(temperature=0, max_tokens=24)


# --- the end of an answer ---------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 7])
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_max_tokens_counts_exactly(model: httpx.Client, name: str, limit: int) -> None:
    """An answer that does not end by itself has exactly as many tokens as allowed, and reason length."""
    answer = chat(model, **{"max_tokens": None, name: limit}, logit_bias={str(END): -100}, logprobs=True)
    assert answer["usage"]["completion_tokens"] == limit
    assert answer["choices"][0]["finish_reason"] == "length"
    assert len(answer["choices"][0]["logprobs"]["content"]) == limit


def test_no_tokens_at_all(model: httpx.Client) -> None:
    """max_tokens 0 of a text completion generates nothing; with echo the prompt comes back."""
    nothing, echo = complete(model, max_tokens=0), complete(model, max_tokens=0, echo=True)
    assert (said(nothing), nothing["usage"]["completion_tokens"]) == ("", 0)
    assert (said(echo), echo["usage"]["completion_tokens"]) == ("The sea is", 0)
    assert echo["choices"][0]["finish_reason"] == "length"


def test_default_length_of_a_text_completion(model: httpx.Client) -> None:
    """Without max_tokens a text completion has OpenAI's 16."""
    answer = complete(model, max_tokens=None, logit_bias={str(END): -100})
    assert answer["usage"]["completion_tokens"] == 16


def test_the_model_ends_by_itself(model: httpx.Client) -> None:
    """The end token ends the answer with reason stop, and is not part of it."""
    answer = chat(model, logit_bias={str(END): 100})
    assert said(answer) == ""
    assert answer["choices"][0]["finish_reason"] == "stop"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server whose model has a context of 64 tokens."""
    config = tmp_path_factory.mktemp("small") / "jan.yaml"
    options = f"{{context: {CONTEXT}, slots: 2}}"
    config.write_text(
        f"extends: {DEFAULT_CONFIG}\nlog: {{format: json}}\n"
        f"models: [{{id: {MODEL}, engine: llamacpp, options: {options}}}]\n"
    )
    server = ServerProcess(config)
    with http_client(server) as client:
        yield client
    assert server.stop() == 0
    assert server.errors() == []


def test_the_context_ends_an_answer(small: httpx.Client) -> None:
    """An answer that may be longer than the context ends with it: reason length, no error."""
    answer = complete(small, prompt=[260] * 20, max_tokens=None, logit_bias={str(END): -100})
    assert answer["usage"]["completion_tokens"] == 16
    for limit in (10**7, CONTEXT, CONTEXT - 40):
        answer = complete(small, prompt=[260] * 40, max_tokens=limit, logit_bias={str(END): -100})
        assert answer["usage"]["total_tokens"] == CONTEXT
        assert answer["choices"][0]["finish_reason"] == "length"
    answer = chat(small, max_tokens=None, logit_bias={str(END): -100})
    assert answer["usage"]["total_tokens"] == CONTEXT


def test_a_prompt_that_fills_the_context(small: httpx.Client) -> None:
    """A prompt that leaves no room for one token is 400 with both numbers; one shorter is served."""
    for length in (CONTEXT, CONTEXT + 1, 10 * CONTEXT):
        response = small.post(COMPLETIONS, json={"model": MODEL, "prompt": [260] * length})
        error = response.json()["error"]
        assert (response.status_code, error["code"], error["param"]) == (400, "context_length_exceeded", "prompt")
        with_answer = [CONTEXT + 1] if length == CONTEXT else []
        assert [int(number) for number in re.findall(r"\d+", error["message"])] == [CONTEXT, length, *with_answer]
    assert complete(small, prompt=[260] * (CONTEXT - 1), max_tokens=9)["usage"]["completion_tokens"] == 1
    cut = complete(small, prompt="word " * 999, max_tokens=9, truncate_prompt_tokens=-1)["usage"]
    assert (cut["prompt_tokens"], cut["total_tokens"]) == (CONTEXT - 9, CONTEXT)


# --- choices and prompts ----------------------------------------------------------------------------


def test_n_gives_n_choices(model: httpx.Client) -> None:
    """Several choices are numbered, differ from one another, and the prompt counts once."""
    one, four = chat(model), chat(model, n=4)
    assert [choice["index"] for choice in four["choices"]] == [0, 1, 2, 3]
    assert len({said(four, index) for index in range(4)}) > 1
    assert four["usage"]["prompt_tokens"] == one["usage"]["prompt_tokens"]
    assert four["usage"]["completion_tokens"] > one["usage"]["completion_tokens"]


def test_choices_of_a_seed_differ_and_come_again(model: httpx.Client, opening: Callable[..., str]) -> None:
    """With a seed the choices still differ from one another, and the first is that of a request for one."""
    answer = chat(model, n=4, seed=3)
    assert len({said(answer, index) for index in range(4)}) > 1
    assert alike(lambda about: opening(about, n=2, seed=3), lambda about: opening(about, seed=3))


def test_several_prompts(model: httpx.Client) -> None:
    """A list of texts gives a choice for each, in order, and counts all their tokens."""
    prompts = ["The sea is", "One, two,"]
    both = complete(model, prompt=prompts, temperature=0, echo=True)
    assert [said(both, index).startswith(prompts[index]) for index in (0, 1)] == [True, True]
    single = [complete(model, prompt=prompt)["usage"]["prompt_tokens"] for prompt in prompts]
    assert both["usage"]["prompt_tokens"] == sum(single)


def test_tokens_are_as_good_as_text(model: httpx.Client) -> None:
    """A prompt given as tokens is the same prompt as its text."""

    def texts(tokens: list[int]) -> tuple[str, str]:
        prompt = said(complete(model, prompt=tokens, echo=True, max_tokens=0))
        answers = [complete(model, prompt=asked, temperature=0) for asked in (prompt, tokens)]
        assert [answer["usage"]["prompt_tokens"] for answer in answers] == [len(tokens)] * 2
        return said(answers[0]), said(answers[1])

    tokens = [WORD, WORD, OTHER_WORD]
    assert any(one == other for one, other in map(texts, (tokens, tokens[1:], tokens[:2], tokens * 2)))
    listed = complete(model, prompt=[tokens, tokens[:2]], max_tokens=0, echo=True)
    prompt = said(complete(model, prompt=tokens, echo=True, max_tokens=0))
    assert [prompt.startswith(said(listed, index)) for index in (0, 1)] == [True, True]


def test_echo(model: httpx.Client) -> None:
    """echo puts the prompt before the text, letter by letter, and changes nothing else."""

    def plain(subject: str) -> str:
        return subject + said(complete(model, prompt=subject, temperature=0))

    assert alike(plain, lambda about: said(complete(model, prompt=about, temperature=0, echo=True)))
    assert complete(model, max_tokens=3, echo=True)["usage"]["completion_tokens"] <= 3


def test_usage_adds_up(model: httpx.Client) -> None:
    """The total is the sum; a second identical prompt comes from the cache, but for what must be computed."""
    messages = [{"role": "user", "content": "Some words that no other test has: quark, heron, isthmus."}]
    first, second = (chat(model, messages=messages)["usage"] for _ in range(2))
    for usage in (first, second):
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert first["prompt_tokens"] == second["prompt_tokens"]
    assert first["prompt_tokens_details"]["cached_tokens"] < second["prompt_tokens_details"]["cached_tokens"]
    assert second["prompt_tokens_details"]["cached_tokens"] == second["prompt_tokens"] - 1


# --- log probabilities ------------------------------------------------------------------------------


def test_logprobs_of_a_chat(model: httpx.Client) -> None:
    """Each token comes with its log probability and bytes, the likeliest candidates in order beside it: at
    temperature 0 the first of them is the token itself; together they are at most certain."""
    answer = chat(model, temperature=0, logprobs=True, top_logprobs=5)
    content = answer["choices"][0]["logprobs"]["content"]
    assert "".join(token["token"] for token in content) == said(answer)
    assert len(content) == answer["usage"]["completion_tokens"]
    for token in content:
        top = [candidate["logprob"] for candidate in token["top_logprobs"]]
        assert len(top) == 5
        assert top == sorted(top, reverse=True)
        assert sum(map(math.exp, top)) <= 1.0001
        assert token["top_logprobs"][0]["token"] == token["token"]
        assert token["logprob"] == top[0] <= 0
        assert bytes(token["bytes"]).decode() == token["token"]


def test_logprobs_are_the_models_own(model: httpx.Client) -> None:
    """Temperature, truncation and bias change what is chosen, not the probabilities that are told."""
    plain = chat(model, temperature=0, max_tokens=1, logprobs=True, top_logprobs=20)
    bent = chat(model, max_tokens=1, logprobs=True, top_logprobs=20, seed=1, top_k=3, logit_bias={"260": 5})
    tops = [answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"] for answer in (plain, bent)]
    plainly, bently = ({token["token"]: token["logprob"] for token in top} for top in tops)
    assert next(iter(plainly)) in bently
    for token in set(plainly) & set(bently):
        assert plainly[token] == pytest.approx(bently[token], abs=0.2)


def test_logprobs_without_candidates(model: httpx.Client) -> None:
    """logprobs alone gives the tokens' own; without it there are none."""
    with_logprobs = chat(model, logprobs=True)["choices"][0]["logprobs"]["content"]
    assert all(token["top_logprobs"] == [] and token["logprob"] <= 0 for token in with_logprobs)
    assert chat(model)["choices"][0]["logprobs"] is None
    assert chat(model, logprobs=False)["choices"][0]["logprobs"] is None


def test_logprobs_of_a_text_completion(model: httpx.Client) -> None:
    """The older form: parallel lists, and the offsets of the tokens in the text."""
    answer = complete(model, temperature=0, logprobs=3)
    logprobs = answer["choices"][0]["logprobs"]
    assert "".join(logprobs["tokens"]) == said(answer)
    assert len({len(values) for values in logprobs.values()}) == 1
    for token, logprob, top, offset in zip(*(logprobs[key] for key in LOGPROBS), strict=True):
        assert said(answer)[offset:].startswith(token)
        assert len(top) == 3
        assert logprob == max(top.values())


LOGPROBS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")

# --- formats ----------------------------------------------------------------------------------------

SCHEMAS: dict[str, dict[str, Any]] = {
    "flat": {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "maximum": 120}},
        "required": ["name", "age"],
        "additionalProperties": False,
    },
    "enum and const": {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "green", None, 7]}, "kind": {"const": "paint"}},
        "required": ["colour", "kind"],
        "additionalProperties": False,
    },
    "nested arrays": {
        "type": "array",
        "items": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 9}, "maxItems": 3},
        "minItems": 2,
        "maxItems": 3,
    },
    "optional fields": {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "b": {"type": "null"}, "c": {"type": "integer", "maximum": 9}},
        "required": ["b"],
        "additionalProperties": False,
    },
    "unicode": {
        "type": "object",
        "properties": {"größe": {"enum": ["klein", "groß", "größer 👍"]}, "名前": {"enum": ["太郎", "花子"]}},
        "required": ["größe", "名前"],
        "additionalProperties": False,
    },
    "refs and alternatives": {
        "type": "object",
        "properties": {"left": {"$ref": "#/$defs/leaf"}, "right": {"$ref": "#/$defs/leaf"}},
        "required": ["left", "right"],
        "additionalProperties": False,
        "$defs": {"leaf": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 99}, {"type": "boolean"}]}},
    },
    "pattern and format": {
        "type": "object",
        "properties": {"code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"}, "day": {"format": "date"}},
        "required": ["code", "day"],
        "additionalProperties": False,
    },
    "a number": {"type": "number", "minimum": 0, "maximum": 9, "multipleOf": 0.25},
    "a string": {"type": "string", "minLength": 3, "maxLength": 9},
}


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"seed": 4, "presence_penalty": 1}], ids=str)
def test_answers_keep_to_a_json_schema(model: httpx.Client, name: str, sampling: dict[str, Any]) -> None:
    """With response_format json_schema the answer is JSON that the schema accepts, however it is sampled."""
    schema = SCHEMAS[name]
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    answer = chat(model, response_format=wanted, max_tokens=200, **sampling)
    assert answer["choices"][0]["finish_reason"] == "stop"
    jsonschema.validate(json.loads(said(answer)), schema)


def test_json_object(model: httpx.Client) -> None:
    """json_object gives an object, or with reason length the beginning of one."""
    for sampling in ({"temperature": 0}, {"seed": 1}, {"seed": 2}):
        answer = chat(model, response_format={"type": "json_object"}, max_tokens=60, **sampling)
        assert said(answer).startswith("{")
        if answer["choices"][0]["finish_reason"] == "stop":
            assert isinstance(json.loads(said(answer)), dict)


def test_json_that_is_cut_off(model: httpx.Client) -> None:
    """An answer in JSON that max_tokens ends early says so by its reason."""
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMAS["pattern and format"]}}
    answer = chat(model, response_format=wanted, max_tokens=5)
    assert said(answer).startswith("{")
    assert answer["choices"][0]["finish_reason"] == "length"


def test_text_format_is_free(opening: Callable[..., str]) -> None:
    """response_format text is no format at all."""
    assert alike(
        lambda about: opening(about, response_format={"type": "text"}, seed=2),
        lambda about: opening(about, seed=2),
    )


# --- tools ------------------------------------------------------------------------------------------


def tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    parameters["additionalProperties"] = False
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


TOOLS = [tool("get_weather", city={"enum": ["Paris", "Rome"]}), tool("get_time", zone={"enum": ["UTC", "CET"]})]
PARAMETERS = {item["function"]["name"]: item["function"]["parameters"] for item in TOOLS}


def check_calls(answer: Any) -> list[str]:
    """The names of an answer's calls, which must be complete and valid."""
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    calls = choice["message"]["tool_calls"]
    for call in calls:
        assert call["type"] == "function"
        jsonschema.validate(json.loads(call["function"]["arguments"]), PARAMETERS[call["function"]["name"]])
    assert len({call["id"] for call in calls}) == len(calls)
    return [call["function"]["name"] for call in calls]


@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"seed": 1}, {"seed": 2}], ids=str)
def test_a_required_tool_call(model: httpx.Client, sampling: dict[str, Any]) -> None:
    """tool_choice required gives a call of one of the tools with arguments that its schema accepts, and no
    text; with parallel_tool_calls false exactly one."""
    parameters = {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 80}
    answer = chat(model, **parameters, **sampling)
    assert len(check_calls(answer)) == 1
    assert answer["choices"][0]["message"]["content"] is None


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_named_tool(model: httpx.Client, name: str) -> None:
    """A tool chosen by name is the one that is called, once."""
    choice = {"type": "function", "function": {"name": name}}
    assert check_calls(chat(model, tools=TOOLS, tool_choice=choice, max_tokens=80, seed=6)) == [name]


def test_no_tool(model: httpx.Client) -> None:
    """tool_choice none gives text, whatever tools there are, and does not even show them to the model."""
    answer = chat(model, tools=TOOLS, tool_choice="none")
    assert "tool_calls" not in answer["choices"][0]["message"]
    assert answer["usage"]["prompt_tokens"] == chat(model)["usage"]["prompt_tokens"]


def test_auto_leaves_the_choice_to_the_model(model: httpx.Client) -> None:
    """With tool_choice auto, or none given, the answer is text or calls; whichever, it is well-formed."""
    for parameters in ({"tool_choice": "auto"}, {}, {"parallel_tool_calls": False}):
        answer = chat(model, tools=TOOLS, max_tokens=60, seed=8, **parameters)
        message = answer["choices"][0]["message"]
        if message.get("tool_calls"):
            check_calls(answer)
        else:
            assert message["content"]


def test_parallel_calls(model: httpx.Client) -> None:
    """Unless forbidden a call may be followed by others; nothing but calls ever follows it."""
    answer = chat(model, tools=TOOLS, tool_choice="required", max_tokens=120, temperature=1.5, seed=1)
    message = answer["choices"][0]["message"]
    assert message["content"] is None
    if answer["choices"][0]["finish_reason"] != "length":
        check_calls(answer)


def test_a_conversation_with_tool_results(model: httpx.Client) -> None:
    """Calls and their results in the history are taken, in every role and form that OpenAI's API has."""
    call = {"id": "c1", "type": "function", "function": {"name": "get_time", "arguments": '{"zone": "UTC"}'}}
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]},
        {"role": "developer", "content": "Be kind.", "name": "dev"},
        {"role": "user", "content": [{"type": "text", "text": "What time is it?"}], "name": "someone"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "noon", "tool_call_id": "c1"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "refusal": "No."},
        {"role": "function", "name": "get_time", "content": "noon"},
        {"role": "user", "content": "Thanks."},
    ]
    assert said(chat(model, messages=messages, tools=TOOLS, tool_choice="none"))
