"""The llama.cpp backend from the inside: sampling, refusals, and cached prefixes."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import numpy
import pytest
from support.engine import text_request

pytest.importorskip("cyllama")
pytestmark = pytest.mark.model

from jan.engine.backends.exllama.common.options import ExLlamaOptions  # noqa: E402
from jan.engine.backends.llamacpp import LlamaCppBackend, LlamaCppOptions  # noqa: E402
from jan.engine.backends.llamacpp.sampler import TokenSampler  # noqa: E402
from jan.engine.backends.llamacpp.tokenizer import GgufTokenizer  # noqa: E402
from jan.engine.backends.prefix_sharing import SharePrefixes  # noqa: E402
from jan.engine.backends.token_rules import TokenRules  # noqa: E402
from jan.engine.base import Delta, Finished, Sampling  # noqa: E402
from jan.engine.grammars.constraint import Constraint  # noqa: E402
from jan.errors import InvalidRequest  # noqa: E402


@pytest.fixture(scope="module")
def backend() -> Iterator[LlamaCppBackend]:
    made = LlamaCppBackend(LlamaCppOptions(slots=2, context=256))
    made.load(lambda part: None)
    yield made
    made.close()


class Only:
    """A grammar that always allows the same few tokens."""

    def __init__(self, *tokens: int) -> None:
        self._tokens = tokens

    def accept(self, token: int) -> bool:
        return token in self._tokens

    def mask(self) -> list[tuple[int, float]]:
        return [(token, 10_000.0) for token in self._tokens]


def close_pair(backend: LlamaCppBackend) -> tuple[Any, int, int, int]:
    """Return a context with logits at 0 after a prompt, its likeliest token, and two tokens that are nearly
    equally likely, the likelier one first."""
    backend.reset()
    backend.begin(1, backend.prepare(text_request("Once upon a time", max_tokens=50)))
    [(_, index)] = backend._fill_batch()
    backend._context.decode(backend._batch)
    logits = numpy.asarray(backend._context.get_logits_ith(index))
    order = numpy.argsort(-logits).tolist()
    return backend._context, order[0], order[20], order[21]


def sampler_of(
    backend: LlamaCppBackend, sampling: Sampling, constraint: Constraint | None = None, **asked: Any
) -> TokenSampler:
    request = text_request("", sampling=sampling, **asked)
    rules = TokenRules(request, [], 50, backend._model)
    return TokenSampler(rules, len(backend._model.pieces), constraint)


def draws(backend: LlamaCppBackend, count: int, **sampling: Any) -> tuple[list[int], int, int]:
    """Sample several tokens between two nearly equally likely ones, where the grammar refuses every first draw."""
    context, likeliest, one, other = close_pair(backend)
    chosen = Sampling(logit_bias={likeliest: 100.0}, **sampling)
    sampler = sampler_of(backend, chosen, cast(Constraint, Only(one, other)))
    index = backend._batch.n_tokens - 1
    return [sampler.sample(context, index) for _ in range(count)], one, other


def test_every_draw_is_its_own(backend: LlamaCppBackend) -> None:
    """If the grammar refuses the same token again and again, each second draw is random again."""
    taken, one, other = draws(backend, 40, seed=1)
    assert {one, other} == set(taken)
    assert 5 <= taken.count(one) <= 35
    assert taken == draws(backend, 40, seed=1)[0]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_probabilities(backend: LlamaCppBackend, temperature: float) -> None:
    """Each of the likeliest tokens is drawn as often as the model's probabilities at this temperature say, and all
    others together too. So dropping tokens of negligible probability changes nothing."""
    context, *_ = close_pair(backend)
    index, count = backend._batch.n_tokens - 1, 4000
    logits = numpy.asarray(context.get_logits_ith(index), dtype=float) / temperature
    probabilities = numpy.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    sampler = sampler_of(backend, Sampling(seed=1, temperature=temperature))
    drawn = Counter(sampler.sample(context, index) for _ in range(count))
    likeliest = numpy.argsort(-probabilities)[:5].tolist()
    for token in likeliest:
        assert drawn[token] / count == pytest.approx(probabilities[token], abs=0.04)
    others = 1 - sum(drawn[token] for token in likeliest) / count
    assert others == pytest.approx(1 - probabilities[likeliest].sum(), abs=0.04)


@pytest.mark.parametrize(
    "penalty", [{"presence_penalty": 2.0}, {"frequency_penalty": 2.0}, {"repeat_penalty": 2.0}]
)
def test_penalties_hold_under_a_grammar(backend: LlamaCppBackend, penalty: dict[str, float]) -> None:
    """Penalties count tokens that were sampled, and not tokens that the grammar refused: of two nearly equal
    tokens, greedy sampling takes the other one next."""
    taken, one, other = draws(backend, 2, temperature=0, **penalty)
    assert taken == [one, other]


def test_a_frequent_token_never_lets_a_forbidden_one_in(backend: LlamaCppBackend) -> None:
    """A grammar's mask holds, however large the penalties of the only allowed tokens are."""
    taken, one, other = draws(backend, 1500, temperature=0, frequency_penalty=2.0)
    assert set(taken) == {one, other}


def test_a_hopeless_prompt_is_refused_unread(backend: LlamaCppBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Megabytes that can't fit into the context are refused without tokenising them while all others wait."""
    read: list[str] = []
    monkeypatch.setattr(GgufTokenizer, "tokenize_plain", lambda _self, text: read.append(text) or [])
    with pytest.raises(InvalidRequest, match=r"256 tokens\. .*at least [0-9]+ tokens: the prompt") as refused:
        backend.prepare(text_request("x" * 3_000_000))
    assert read == []
    assert "at least 256 tokens" not in refused.value.message
    assert refused.value.code == "context_length_exceeded"


# The callers, and after each of them: is the prompt's prefix reused, and is its length reported?
ORDER = ("ann", "bob", "ann", "bob", "ip:10.0.0.1", "ip:10.0.0.2", "ip:10.0.0.1")


@pytest.mark.parametrize(
    ("share", "reused", "reported"),
    [
        ("auto", "0011011", "0011011"),
        ("owner", "0011001", "0011001"),
        ("all", "0111111", "0000000"),
    ],
)
def test_whose_beginning_is_reused(share: SharePrefixes, reused: str, reported: str) -> None:
    """By default a known user finds only their own prompts cached, and callers without credentials share theirs.
    What everybody shares is reported to nobody. The answer is the same."""
    made = LlamaCppBackend(LlamaCppOptions(slots=4, context=128, share_prefixes=share))
    made.load(lambda part: None)
    known = [answer_of(made, owner) for owner in ORDER]
    made.close()
    assert len({text for text, _, _ in known}) == 1
    assert "".join("1" if computed < 3 else "0" for _, computed, _ in known) == reused
    assert "".join("1" if tokens > 0 else "0" for _, _, tokens in known) == reported


def test_the_default_keeps_users_apart() -> None:
    """No option has to be set for that."""
    assert LlamaCppOptions().share_prefixes == "auto"
    assert ExLlamaOptions(model="m").share_prefixes == "auto"


def answer_of(made: LlamaCppBackend, owner: str) -> tuple[str, int, int]:
    """Return an answer's text, the number of prompt tokens computed, and the reported number of cached ones."""
    request = text_request(
        "one two three four",
        max_tokens=4,
        owner=owner,
        anonymous=owner.startswith("ip:"),
        sampling=Sampling(temperature=0),
    )
    made.begin(1, made.prepare(request))
    computed = len(made._sequences[1].pending_tokens)
    text, cached = "", 0
    while made._sequences:
        for _, output in made.step():
            text += output.text if isinstance(output, Delta) else ""
            cached = output.cached_tokens if isinstance(output, Finished) else cached
    return text, computed, cached


def test_a_state_that_can_not_be_cut_is_not_shared(
    backend: LlamaCppBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recurrent model computes every prompt from its beginning; other models reuse a prefix."""
    assert backend._model.shares_prefixes
    backend.reset()
    for shares in (True, False):
        monkeypatch.setattr(backend._model, "shares_prefixes", shares)
        for job_id in (1, 2):
            backend.begin(job_id, backend.prepare(text_request("one two three four", max_tokens=4)))
            cached = backend._sequences[job_id].answer.cached_tokens
            assert (cached > 0) == (shares and job_id == 2)
            while backend._sequences:
                backend.step()
        backend.reset()
