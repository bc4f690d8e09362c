"""Parameters of vLLM, SGLang, llama-server and TabbyAPI have their effect on the real model."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from support.server import MODEL

pytestmark = pytest.mark.model

CHAT = "/api/v1/chat/completions"
COMPLETIONS = "/api/v1/completions"
# A token id of SmolLM2.
HELLO_TOKEN = 19556
HELLO: list[dict[str, str]] = [{"role": "user", "content": "Say hello."}]


def chat(client: httpx.Client, **parameters: Any) -> Any:
    """Ask without what the cache has: tokens that were computed in other batches can be followed by others."""
    body = {"model": MODEL, "messages": HELLO, "max_tokens": 8, "temperature": 0, "cache_salt": uuid4().hex}
    body |= parameters
    response = client.post(CHAT, json=body)
    assert response.status_code == 200, response.text
    assert "x-jan-ignored" not in response.headers
    return response.json()


def said(answer: Any) -> str:
    return str(answer["choices"][0]["message"]["content"])


def refusal(client: httpx.Client, **parameters: Any) -> Any:
    response = client.post(CHAT, json={"model": MODEL, "messages": HELLO, **parameters})
    assert response.status_code == 400, response.text
    return response.json()["error"]


@pytest.fixture(scope="module")
def plain(model: httpx.Client) -> Any:
    """An answer without any of the parameters. It ends by itself."""
    answer = chat(model, max_tokens=40)
    assert answer["choices"][0]["finish_reason"] == "stop"
    return answer


@pytest.mark.parametrize(
    "other", [{"repetition_penalty": 5}, {"rep_pen": 5}, {"repetition_penalty": 5, "repeat_penalty": 5.0}], ids=str
)
def test_other_names_have_the_same_effect(model: httpx.Client, other: dict[str, Any]) -> None:
    """A penalty has its effect by any of its names; two names with one value are one parameter."""
    count = [{"role": "user", "content": "Repeat: no no no no no no no no no no no no"}]
    free, penalised = chat(model, messages=count), chat(model, messages=count, repeat_penalty=5)
    assert said(free) != said(penalised) == said(chat(model, messages=count, **other))


def test_an_ignored_end_lets_the_answer_go_on(model: httpx.Client, plain: Any) -> None:
    """``ignore_eos`` runs to max_tokens, and ``min_tokens`` at least to its number."""
    length = plain["usage"]["completion_tokens"]
    forever = chat(model, ignore_eos=True, max_tokens=length + 12)
    assert forever["choices"][0]["finish_reason"] == "length"
    assert forever["usage"]["completion_tokens"] == length + 12
    least = chat(model, min_tokens=length + 5, max_tokens=length + 12)
    assert least["usage"]["completion_tokens"] >= length + 5


def test_a_stop_token_ends_the_answer(model: httpx.Client, plain: Any) -> None:
    """Its text is left out, or kept if the request says so; so it is with a stop string."""
    assert said(plain).startswith("Hello")
    ended = chat(model, stop_token_ids=[HELLO_TOKEN])
    assert (said(ended), ended["choices"][0]["finish_reason"]) == ("", "stop")
    kept = chat(model, stop_token_ids=[HELLO_TOKEN], include_stop_str_in_output=True)
    assert (said(kept), kept["choices"][0]["finish_reason"]) == ("Hello", "stop")
    assert said(chat(model, stop=["llo"])) == "He"
    assert said(chat(model, stop=["llo"], include_stop_str_in_output=True)) == "Hello"
    assert said(chat(model, stop=["llo"], no_stop_trim=True)) == "Hello"


@pytest.mark.parametrize(
    "ban", [{"bad_words": ["Hello"]}, {"banned_tokens": [HELLO_TOKEN]}, {"custom_token_bans": f"7, {HELLO_TOKEN}"}]
)
def test_bans_hold(model: httpx.Client, ban: dict[str, Any]) -> None:
    """What the model would begin with is never said."""
    assert not said(chat(model, **ban)).startswith("Hello")


def test_a_banned_phrase_is_never_complete(model: httpx.Client, plain: Any) -> None:
    """A phrase of several tokens: its beginning is free, its end is not."""
    phrase = " ".join(said(plain).split()[:2])
    other = said(chat(model, bad_words=[phrase], max_tokens=40))
    assert phrase not in other
    assert other.startswith("Hello")


def test_only_allowed_tokens_are_said(model: httpx.Client) -> None:
    """The end is none of them, so the answer runs to its limit."""
    answer = chat(model, allowed_token_ids=[HELLO_TOKEN, 17], max_tokens=6, temperature=1)
    assert set(said(answer).replace("Hello", "!")) == {"!"}
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    "parameters",
    [
        {"top_k": -1},
        {"max_tokens": -1, "stop": ["!"]},
        {"max_completion_tokens": -1, "stop": ["!"]},
        {"n_predict": -1, "max_tokens": -1, "stop": ["!"]},
        {"typical_p": 1, "top_n_sigma": -1, "xtc_probability": 0, "dynatemp_range": 0, "mirostat": 0},
        {"mirostat": False, "min_temp": 1, "max_temp": 1, "dry_multiplier": 0, "repeat_last_n": -1},
        {"use_beam_search": False, "length_penalty": 1.0, "cfg_scale": 1, "lora": [], "id_slot": -1},
        {"samplers": None, "logit_bias": {}, "bad_words": [], "stop_token_ids": [], "min_tokens": 0},
    ],
    ids=str,
)
def test_neutral_values_change_nothing(model: httpx.Client, plain: Any, parameters: dict[str, Any]) -> None:
    """A value that says what happens anyway is accepted, and not reported as ignored."""
    assert said(plain).startswith(said(chat(model, **parameters)))


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"use_beam_search": True}, "use_beam_search"),
        ({"samplers": ["top_k"]}, "samplers"),
        ({"guidance_scale": 2.0}, "guidance_scale"),
        ({"lora": [{"id": 0, "scale": 1}]}, "lora"),
        ({"t_max_predict_ms": 100}, "t_max_predict_ms"),
        ({"smoothing_factor": 0.2}, "smoothing_factor"),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        ({"repeat_penalty": 2, "repetition_penalty": 3}, "repetition_penalty"),
        ({"mirostat": 2, "top_k": 5}, "top_k"),
        ({"min_temp": 1.5, "max_temp": 1.2}, "min_temp"),
        ({"dry_range": 5, "dry_penalty_last_n": 9}, "dry_range"),
        ({"min_tokens": 9, "max_tokens": 5}, "min_tokens"),
        ({"stop_token_ids": [49152]}, "stop_token_ids"),
        ({"allowed_token_ids": [1, 999999]}, "allowed_token_ids"),
        ({"banned_tokens": "a"}, "banned_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
    ids=str,
)
def test_what_is_not_served_is_refused_by_name(
    model: httpx.Client, parameters: dict[str, Any], param: str
) -> None:
    """Whatever another server would do with it."""
    error = refusal(model, **parameters)
    assert error["param"] == param
    assert error["message"].startswith(f"{param}: ")


@pytest.mark.parametrize(
    ("parameters", "other"),
    [
        ({"allowed_token_ids": [5], "banned_tokens": [5]}, "banned_tokens"),
        ({"allowed_token_ids": [2], "ignore_eos": True}, "ignore_eos"),
        ({"allowed_token_ids": [2], "min_tokens": 1}, "min_tokens"),
        ({"allowed_token_ids": [2, 5], "min_tokens": 1, "banned_tokens": [5]}, "banned_tokens and min_tokens"),
    ],
    ids=str,
)
def test_a_ban_of_all_allowed_tokens_is_refused(
    model: httpx.Client, parameters: dict[str, Any], other: str
) -> None:
    """Where none is left, both parameters are named."""
    error = refusal(model, **parameters)
    assert error["param"] == "allowed_token_ids"
    assert f"forbidden by {other}," in error["message"]


@pytest.mark.parametrize(
    "bias",
    [{"01": 1, "1": 2}, {"999999": 1}, {"abc": 1}, {"-1": 1}, {"1": 101}, {"7": -100.5}, {"bad1": 1, "bad2": 1}],
    ids=str,
)
def test_a_bad_bias_is_named(model: httpx.Client, bias: dict[str, float]) -> None:
    """The message has the keys that are wrong, all of those that are no ids."""
    error = refusal(model, logit_bias={"5": 1} | bias)
    assert error["param"] == "logit_bias"
    assert all(key in error["message"] for key in bias)


@pytest.mark.parametrize(
    "sampling",
    [
        {"typical_p": 0.5},
        {"top_n_sigma": 1},
        {"xtc_probability": 0.5},
        {"min_temp": 0.2, "max_temp": 1.4, "temp_exponent": 2},
        {"dynatemp_range": 0.5},
        {"mirostat": 1},
        {"mirostat_mode": 2, "mirostat_tau": 3, "mirostat_eta": 0.2},
        {"dry_multiplier": 0.8, "repeat_penalty": 1.1, "top_n_sigma": 2},
        {"dry_multiplier": 0.8, "response_format": {"type": "json_object"}},
        {"mirostat": 2, "response_format": {"type": "json_object"}, "min_tokens": 3},
        {"repeat_penalty": 1.5, "repeat_last_n": 3, "bad_words": ["hello there"]},
    ],
    ids=str,
)
def test_samplers_serve_whole_answers(model: httpx.Client, sampling: dict[str, Any]) -> None:
    """Each sampler alone and together with others; one seed gives one answer."""
    asked = {"temperature": 1, "seed": 4, "max_tokens": 8, **sampling}
    assert chat(model, **asked)["usage"]["completion_tokens"] > 0


def test_dry_ends_a_repetition(model: httpx.Client) -> None:
    """A text that would go on repeating itself does not, at temperature 0."""

    def texts(**parameters: Any) -> str:
        body = {"model": MODEL, "prompt": "one two three one two three one two three one two", "temperature": 0}
        answer = model.post(COMPLETIONS, json=body | {"max_tokens": 12} | parameters)
        return str(answer.json()["choices"][0]["text"])

    assert texts().startswith(" three one two")
    assert not texts(dry_multiplier=4).startswith(" three")
    assert texts(dry_multiplier=4, dry_sequence_breakers=["o"]).startswith(" three")
