"""Text completions in OpenAI's form: log probabilities, offsets, chunks, echoes, the best of several."""

import json
import math
from typing import Any

import httpx
import pytest
from support.server import MODEL

pytestmark = pytest.mark.model

COMPLETIONS = "/api/v1/completions"
CHAT = "/api/v1/chat/completions"
PROMPT = "The capital of France is"
HELLO = [{"role": "user", "content": "Say hello."}]
# The id of the token that ends the bundled model's answers.
END = 2
PARTY = "\U0001f389\U0001f38a\U0001f973" * 3


def complete(client: httpx.Client, **parameters: Any) -> Any:
    body = {"model": MODEL, "prompt": PROMPT, "max_tokens": 4, "temperature": 0, **parameters}
    response = client.post(COMPLETIONS, json=body)
    assert response.status_code == 200, response.text
    assert "x-jan-ignored" not in response.headers
    return response.json()


def chunks(client: httpx.Client, path: str = COMPLETIONS, **parameters: Any) -> list[Any]:
    prompt = (
        {"prompt": PROMPT} if path == COMPLETIONS else {"messages": [{"role": "user", "content": "Say hello."}]}
    )
    body = {"model": MODEL, "max_tokens": 4, "temperature": 0, "stream": True, **prompt, **parameters}
    with client.stream("POST", path, json=body) as response:
        assert response.status_code == 200
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@pytest.mark.parametrize("logprobs", [0, 1, 5])
def test_the_sampled_token_is_among_the_candidates(model: httpx.Client, logprobs: int) -> None:
    """Up to one more than was asked for, as in OpenAI's reference."""
    found = complete(model, logprobs=logprobs, temperature=2, seed=3)["choices"][0]["logprobs"]
    for token, chance, top in zip(found["tokens"], found["token_logprobs"], found["top_logprobs"], strict=True):
        assert top[token] == chance
        assert max(1, logprobs) <= len(top) <= logprobs + 1


def test_the_sampled_token_is_the_first_candidate(model: httpx.Client) -> None:
    """As in vLLM, whose clients read it there: also in an echoed prompt, and where others were likelier."""
    body = {"echo": True, "logprobs": 2, "temperature": 2, "seed": 5, "return_tokens_as_token_ids": True}
    found = complete(model, **body)["choices"][0]["logprobs"]
    assert found["tokens"][1:] == [next(iter(top)) for top in found["top_logprobs"][1:]]
    assert any(list(top.values()) != sorted(top.values(), reverse=True) for top in found["top_logprobs"][1:])


def test_offsets_never_go_back(model: httpx.Client) -> None:
    """A character of several tokens counts with its last one; tokens that are no text are written as bytes."""
    body = {"prompt": PARTY, "logprobs": 3, "max_tokens": 8}
    choice = complete(model, **body)["choices"][0]
    offsets, tokens = choice["logprobs"]["text_offset"], choice["logprobs"]["tokens"]
    assert offsets == sorted(offsets)
    assert offsets[0] == 0
    assert offsets[-1] <= len(choice["text"])
    assert any(token.startswith("bytes:\\x") for token in tokens)
    assert all(len(top) >= 3 for top in choice["logprobs"]["top_logprobs"])
    streamed = [piece["choices"][0]["logprobs"] for piece in chunks(model, **body)]
    assert [offset for found in streamed if found for offset in found["text_offset"]] == offsets


def test_an_echo_has_the_log_probabilities_of_the_prompt(model: httpx.Client) -> None:
    """Each token of the prompt is scored as if it had been sampled; the first one has no score.

    Salts keep what other tests' batches computed out: rounding depends on how a prompt was cut into batches.
    """
    alone = complete(model, echo=True, logprobs=2, max_tokens=0, cache_salt="echo")["choices"][0]
    found = alone["logprobs"]
    assert alone["text"] == PROMPT == "".join(found["tokens"])
    assert (found["token_logprobs"][0], found["top_logprobs"][0]) == (None, None)
    assert found["text_offset"] == [sum(map(len, found["tokens"][:at])) for at in range(len(found["tokens"]))]
    for at in range(1, len(found["tokens"])):
        before = "".join(found["tokens"][:at])
        asked = {"prompt": before, "logprobs": 20, "max_tokens": 1, "cache_salt": f"echo {at}"}
        next_one = complete(model, **asked)["choices"][0]["logprobs"]
        best = max(found["top_logprobs"][at].values())
        assert best == pytest.approx(next_one["token_logprobs"][0], abs=0.1)


@pytest.mark.parametrize("stream", [False, True])
def test_an_echo_goes_on_with_the_answer(model: httpx.Client, stream: bool) -> None:
    """The lists are those of prompt and answer together, whole or streamed; the prompt counts once."""
    body = {"echo": True, "logprobs": 1, "max_tokens": 3}
    whole = complete(model, **body)
    choice = whole["choices"][0]
    assert choice["text"].startswith(PROMPT)
    assert len(choice["logprobs"]["tokens"]) == whole["usage"]["total_tokens"]
    assert choice["logprobs"]["text_offset"][-1] < len(choice["text"])
    if stream:
        pieces = [piece["choices"][0] for piece in chunks(model, **body)]
        assert "".join(piece["text"] for piece in pieces) == choice["text"]
        names = [name for piece in pieces if piece["logprobs"] for name in piece["logprobs"]["tokens"]]
        assert names == choice["logprobs"]["tokens"]


def test_likelihoods_of_token_lists(model: httpx.Client) -> None:
    """As harnesses ask for them: contexts with continuations as token ids, and one token that nobody reads."""
    texts = ("The sky is blue", "The sky is seven")
    ids = [complete(model, prompt=text, return_token_ids=True)["choices"][0]["prompt_token_ids"] for text in texts]
    answer = complete(model, prompt=ids, echo=True, logprobs=1, max_tokens=1, seed=1234)
    likely, unlikely = (
        sum(choice["logprobs"]["token_logprobs"][3 : len(prompt)])
        for choice, prompt in zip(answer["choices"], ids, strict=True)
    )
    assert unlikely < likely < 0


@pytest.mark.parametrize("ids", [{}, {"return_token_ids": True}], ids=["", "ids"])
@pytest.mark.parametrize("limit", [0, 3])
def test_an_empty_prompt_is_echoed_as_nothing(model: httpx.Client, limit: int, ids: dict[str, Any]) -> None:
    """The token that stands for it is no text of the client's, and has no place among the log probabilities."""
    body = {"prompt": "", "echo": True, "max_tokens": limit, **ids}
    answer = complete(model, prompt="", max_tokens=limit)["choices"][0]["text"]
    assert complete(model, **body)["choices"][0]["text"] == answer
    choice = complete(model, **body, logprobs=1)["choices"][0]
    found = choice["logprobs"]
    assert choice["text"] == answer
    assert [len(found[name]) for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")] == [
        limit
    ] * 4
    assert None not in found["token_logprobs"]
    assert found["text_offset"][:1] == [0][:limit]
    pieces = [piece["choices"][0] for piece in chunks(model, **body, logprobs=1)]
    assert "".join(piece["text"] for piece in pieces) == answer
    assert [name for piece in pieces if piece["logprobs"] for name in piece["logprobs"]["tokens"]] == found[
        "tokens"
    ]


def test_a_prompt_of_one_token_has_its_log_probability(model: httpx.Client) -> None:
    """Also where nothing is generated: the first token has none, and stands in the lists."""
    found = complete(model, prompt=[5], echo=True, logprobs=1, max_tokens=0)["choices"][0]["logprobs"]
    assert (len(found["tokens"]), found["token_logprobs"]) == (1, [None])


@pytest.mark.parametrize("prompt", [{"prompt": None}, {"prompt": ""}], ids=str)
def test_an_empty_prompt(model: httpx.Client, prompt: dict[str, Any]) -> None:
    """null is an empty text, from which the model begins by itself."""
    assert complete(model, **prompt)["usage"]["completion_tokens"] == 4


def test_no_chunk_before_the_first_token(model: httpx.Client) -> None:
    """Each chunk but the last one has text; with ``echo`` the first one is the prompt."""
    texts = [piece["choices"][0]["text"] for piece in chunks(model)]
    assert len(texts) == 5
    assert all(texts[:-1])
    assert chunks(model, echo=True)[0]["choices"][0]["text"] == PROMPT


def test_the_best_of_several(model: httpx.Client) -> None:
    """The likeliest answers come back, in order; all of them are counted."""
    body = {"temperature": 1.5, "seed": 5, "max_tokens": 5}
    best = complete(model, n=3, best_of=6, logprobs=0, **body)
    found = [one["logprobs"] for one in best["choices"]]
    chances = [math.fsum(one["token_logprobs"]) / len(one["tokens"]) for one in found]
    assert len(chances) == 3
    assert chances == sorted(chances, reverse=True)
    assert [one["index"] for one in best["choices"]] == [0, 1, 2]
    assert best["usage"]["completion_tokens"] > sum(len(one["tokens"]) for one in found)
    assert complete(model, best_of=2, **body)["choices"][0]["logprobs"] is None


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT], ids=["text", "chat"])
def test_token_ids(model: httpx.Client, path: str) -> None:
    """Whole and streamed, the ids of prompt and answer are those of the tokens."""
    prompt = (
        {"prompt": PROMPT} if path == COMPLETIONS else {"messages": [{"role": "user", "content": "Say hello."}]}
    )
    body = {"model": MODEL, "max_tokens": 4, "temperature": 0, "return_token_ids": True, **prompt}
    whole = model.post(path, json=body).json()
    choice = whole["choices"][0]
    prompt_ids = choice["prompt_token_ids"] if path == COMPLETIONS else whole["prompt_token_ids"]
    assert len(prompt_ids) == whole["usage"]["prompt_tokens"]
    said = choice["text"] if path == COMPLETIONS else choice["message"]["content"]
    assert complete(model, prompt=choice["token_ids"], echo=True, max_tokens=0)["choices"][0]["text"] == said
    pieces = [piece["choices"][0] for piece in chunks(model, path, return_token_ids=True)]
    ids = [token for piece in pieces for token in piece.get("token_ids", [])]
    text = "".join(piece["text"] if path == COMPLETIONS else piece["delta"].get("content", "") for piece in pieces)
    assert complete(model, prompt=ids, echo=True, max_tokens=0)["choices"][0]["text"] == text


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", [COMPLETIONS, CHAT], ids=["text", "chat"])
def test_the_token_that_ends_an_answer_has_an_id(model: httpx.Client, path: str, stream: bool) -> None:
    """It has no text; ids and log probabilities stay side by side. The bias makes the model stop at once."""
    said = {"prompt": PROMPT, "logprobs": 1} if path == COMPLETIONS else {"messages": HELLO, "logprobs": True}
    body = {"model": MODEL, "logit_bias": {str(END): 100}, "return_token_ids": True, "stream": stream, **said}
    answer = model.post(path, json=body)
    pieces = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    choices = [one["choices"][0] for one in (pieces if stream else [answer.json()])]
    assert [token for choice in choices for token in choice.get("token_ids", ())] == [END]
    assert [logprob for choice in choices for logprob in names(choice)] == ["<|im_end|>"]
    assert choices[-1]["finish_reason"] == "stop"
    assert not any(choice.get("text") or choice.get("delta", {}).get("content") for choice in choices)


def names(choice: dict[str, Any]) -> list[str]:
    """Return the tokens that a choice has log probabilities of, in either API."""
    found = choice.get("logprobs") or {}
    return found.get("tokens", [one["token"] for one in found.get("content", ())])


def test_tokens_named_by_id(model: httpx.Client) -> None:
    """Every name in log probabilities is an id, in both APIs."""
    found = complete(model, logprobs=1, return_tokens_as_token_ids=True)["choices"][0]["logprobs"]
    assert all(name.startswith("token_id:") for name in found["tokens"])
    assert all(name.startswith("token_id:") for top in found["top_logprobs"] for name in top)
    body = {"messages": [{"role": "user", "content": "hi"}], "logprobs": True, "top_logprobs": 1, "max_tokens": 2}
    chat = model.post(CHAT, json={"model": MODEL, **body, "return_tokens_as_token_ids": True}).json()
    for one in chat["choices"][0]["logprobs"]["content"]:
        assert one["token"].startswith("token_id:")
        assert one["top_logprobs"][0]["token"].startswith("token_id:")
        assert "token_id" not in one


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT], ids=["text", "chat"])
def test_prompt_logprobs(model: httpx.Client, path: str) -> None:
    """In vLLM's form: null for the first token, then candidates by id with rank and text."""
    prompt = {"prompt": PROMPT} if path == COMPLETIONS else {"messages": [{"role": "user", "content": "hi"}]}
    whole = model.post(path, json={"model": MODEL, "max_tokens": 1, "prompt_logprobs": 1, **prompt}).json()
    scores = whole["choices"][0]["prompt_logprobs"] if path == COMPLETIONS else whole["prompt_logprobs"]
    assert scores[0] is None
    assert len(scores) == whole["usage"]["prompt_tokens"]
    for score in scores[1:]:
        assert 1 <= len(score) <= 2
        assert 1 in [entry["rank"] for entry in score.values()]
        assert all(entry["logprob"] <= 0 for entry in score.values())


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT], ids=["text", "chat"])
def test_counts_in_each_chunk(model: httpx.Client, path: str) -> None:
    """They grow, and the last ones are those of the whole answer."""
    options = {"include_usage": True, "continuous_usage_stats": True}
    counts = [piece["usage"] for piece in chunks(model, path, stream_options=options)]
    grown = [count["completion_tokens"] for count in counts]
    assert grown == sorted(grown)
    assert counts[-1]["total_tokens"] == counts[-2]["total_tokens"]
    assert {count["prompt_tokens"] for count in counts} == {counts[-1]["prompt_tokens"]}


def test_counts_in_each_chunk_need_counts_at_all(model: httpx.Client) -> None:
    """As in vLLM: without include_usage nothing is counted."""
    options = {"include_usage": False, "continuous_usage_stats": True}
    assert all(piece.get("usage") is None for piece in chunks(model, COMPLETIONS, stream_options=options))


@pytest.mark.parametrize(
    ("cut", "text"),
    [
        ({"truncate_prompt_tokens": 2}, " France is"),
        ({"truncate_prompt_tokens": 2, "truncation_side": "right"}, "The capital"),
        ({"truncate_prompt_tokens": 99}, PROMPT),
        ({"truncate_prompt_tokens": -1}, PROMPT),
    ],
    ids=str,
)
def test_a_prompt_is_cut(model: httpx.Client, cut: dict[str, Any], text: str) -> None:
    """The tokens that are kept are the prompt."""
    assert complete(model, echo=True, max_tokens=0, **cut)["choices"][0]["text"] == text


def test_special_tokens_can_be_left_out(model: httpx.Client) -> None:
    """A control token that the model writes is text, unless the request wants none."""
    forced = {"allowed_token_ids": [5], "max_tokens": 2, "temperature": 0}
    assert complete(model, **forced)["choices"][0]["text"] == "<file_sep>" * 2
    assert complete(model, **forced, skip_special_tokens=True)["choices"][0]["text"] == ""


@pytest.mark.parametrize("salt", [{"cache_salt": "one"}, {"cache_prompt": False}], ids=str)
def test_salted_prompts_share_no_cache(model: httpx.Client, salt: dict[str, Any]) -> None:
    """Only those of the same salt do; without a cache none does."""
    text = {"prompt": "A prompt that is used for salts only, again and again. " * 2}
    cached = [
        complete(model, **text, **more)["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
        for more in ({}, {}, salt, salt)
    ]
    assert cached[1:] == [True, False, "cache_salt" in salt]


def test_the_body_may_name_the_request(model: httpx.Client) -> None:
    """The header of the client's own takes precedence."""
    body = {"model": MODEL, "prompt": "a", "max_tokens": 1, "request_id": "mine-1"}
    assert model.post(COMPLETIONS, json=body).headers["x-request-id"] == "mine-1"
    named = model.post(COMPLETIONS, json=body, headers={"X-Request-Id": "other"})
    assert named.headers["x-request-id"] == "other"
    wrong = model.post(COMPLETIONS, json=body | {"rid": "a b", "request_id": None})
    assert wrong.status_code == 400


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"suffix": "end"}, "suffix"),
        ({"suffix": "end", "prompt": [1, 2]}, "suffix"),
        ({"best_of": 2, "n": 3}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs"),
        ({"prompt_logprobs": -1}, "prompt_logprobs"),
    ],
    ids=str,
)
def test_what_can_not_be_served_is_refused(model: httpx.Client, asked: dict[str, Any], param: str) -> None:
    """By the parameter's name."""
    response = model.post(COMPLETIONS, json={"model": MODEL, "prompt": PROMPT, **asked})
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == param
