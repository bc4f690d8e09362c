"""The llama.cpp engine's samplers against their formulas, computed with numpy from the model's own logits."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest
from support.engine import text_request

pytest.importorskip("cyllama")
pytestmark = pytest.mark.model

from jan.engine.backends.llamacpp import LlamaCppBackend, LlamaCppOptions  # noqa: E402
from jan.engine.backends.llamacpp.sampler import TokenSampler  # noqa: E402
from jan.engine.backends.token_rules import TokenRules  # noqa: E402
from jan.engine.base import Sampling  # noqa: E402

Array = numpy.ndarray[Any, Any]
DRAWS = 160
# The sampled text ends with these words twice, so that DRY has something to penalise.
TEXT = "The cat sat on the mat. The dog sat on the"


@pytest.fixture(scope="module")
def backend() -> Iterator[LlamaCppBackend]:
    """A model with logits after TEXT at the batch's last position."""
    made = LlamaCppBackend(LlamaCppOptions(slots=1, context=128))
    made.load(lambda part: None)
    made.begin(1, made.prepare(text_request(TEXT, max_tokens=50)))
    made._fill_batch()
    made._context.decode(made._batch)
    yield made
    made.close()


@pytest.fixture(scope="module")
def logits(backend: LlamaCppBackend) -> Array:
    return numpy.asarray(backend._context.get_logits_ith(backend._batch.n_tokens - 1), dtype=float)


def softmax(logits: Array) -> Array:
    powers = numpy.exp(logits - logits.max())
    return numpy.asarray(powers / powers.sum())


def entropy(chances: Array) -> float:
    positive = chances[chances > 0]
    return float(-(positive * numpy.log(positive)).sum())


def kept(chances: Array, keep: Array) -> Array:
    chances = numpy.where(keep, chances, 0)
    return numpy.asarray(chances / chances.sum())


def typical(logits: Array, part: float) -> Array:
    """Locally typical sampling: tokens in the order of how near their surprise is to the entropy."""
    chances = softmax(logits)
    order = numpy.argsort(numpy.abs(-numpy.log(chances + 1e-30) - entropy(chances)))
    count = int((chances[order].cumsum() <= part).sum()) + 1
    keep = numpy.zeros(len(chances), dtype=bool)
    keep[order[:count]] = True
    return kept(chances, keep)


def dynamic(logits: Array, middle: float, around: float, exponent: float, top_k: int) -> Array:
    """The temperature by the entropy of the candidates that are left."""
    keep = logits >= numpy.sort(logits)[-top_k]
    chances = kept(softmax(logits), keep)
    low = max(0.0, middle - around)
    temperature = low + (middle + around - low) * (entropy(chances) / numpy.log(top_k)) ** exponent
    return kept(softmax(logits / temperature), keep)


def xtc(logits: Array, threshold: float) -> Array:
    """All of the top choices but the least likely of them are excluded."""
    chances = softmax(logits)
    top = chances >= threshold
    top[numpy.where(top, chances, 2).argmin()] = False
    return kept(chances, ~top)


def mirostat_two(logits: Array, tau: float) -> Array:
    """The first token of Mirostat 2.0: surprises above twice the target are cut off."""
    chances = softmax(logits)
    return kept(chances, -numpy.log2(chances + 1e-30) <= 2 * tau)


FORMULAS: list[tuple[dict[str, Any], Callable[[Array], Array]]] = [
    ({"typical_p": 0.3}, lambda logits: typical(logits, 0.3)),
    ({"typical_p": 0.9}, lambda logits: typical(logits, 0.9)),
    ({"top_n_sigma": 1.0}, lambda logits: kept(softmax(logits), logits >= logits.max() - logits.std())),
    (
        {"top_n_sigma": 1.5, "temperature": 1.5},
        lambda logits: kept(softmax(logits / 1.5), logits >= logits.max() - 1.5 * logits.std()),
    ),
    (
        {"temperature": 1.0, "dynatemp_range": 0.8, "top_k": 30},
        lambda logits: dynamic(logits, 1.0, 0.8, 1.0, 30),
    ),
    (
        {"temperature": 0.5, "dynatemp_range": 0.5, "dynatemp_exponent": 2.0, "top_k": 30},
        lambda logits: dynamic(logits, 0.5, 0.5, 2.0, 30),
    ),
    ({"xtc_probability": 1.0, "xtc_threshold": 0.05}, lambda logits: xtc(logits, 0.05)),
    ({"xtc_probability": 1.0, "xtc_threshold": 0.6}, softmax),
    ({"mirostat": 2, "mirostat_tau": 1.5}, lambda logits: mirostat_two(logits, 1.5)),
]


@pytest.mark.parametrize(("options", "formula"), FORMULAS, ids=[str(options) for options, _ in FORMULAS])
def test_first_draws_follow_the_formula(
    backend: LlamaCppBackend, logits: Array, options: dict[str, Any], formula: Callable[[Array], Array]
) -> None:
    """No token that the formula cuts off is ever drawn; the others are drawn as often as it says."""
    expected = formula(logits)
    drawn: Counter[int] = Counter()
    sampler = sampler_of(backend, Sampling(seed=1, **options))
    for seed in range(DRAWS):
        if "mirostat" in options:  # each draw changes its state
            sampler = sampler_of(backend, Sampling(seed=seed, **options))
        drawn[sampler.sample(backend._context, backend._batch.n_tokens - 1)] += 1
    assert all(expected[token] > 0 for token in drawn)
    for token in numpy.argsort(-expected)[:5].tolist():
        assert drawn[token] / DRAWS == pytest.approx(expected[token], abs=0.14)


def sampler_of(
    backend: LlamaCppBackend, sampling: Sampling, prompt: tuple[int, ...] = (), **asked: Any
) -> TokenSampler:
    request = text_request("", sampling=sampling, **asked)
    rules = TokenRules(request, prompt, 50, backend._model)
    return TokenSampler(rules, len(backend._model.pieces), None)


def test_dry_moves_the_likeliest_token(backend: LlamaCppBackend, logits: Array) -> None:
    """The token that followed the same words before is taken without DRY, and the next likeliest one with it."""
    tokens = tuple(backend._model.tokenize(TEXT, 100))
    mat = backend._model.tokenize_plain(" mat")[0]
    likeliest, *others = numpy.argsort(-logits)[:3].tolist()
    second = next(token for token in others if token != mat)  # it followed these words too
    once, again = (*tokens, likeliest, *tokens), Sampling(temperature=0, dry_multiplier=5.0)
    index = backend._batch.n_tokens - 1
    assert sampler_of(backend, Sampling(temperature=0), once).sample(backend._context, index) == likeliest
    assert sampler_of(backend, again, once).sample(backend._context, index) == second
    # Without the earlier words there is no repetition.
    assert sampler_of(backend, again, tokens[-1:]).sample(backend._context, index) == likeliest


def test_mirostat_one_takes_fewer_candidates_for_a_lower_target(backend: LlamaCppBackend) -> None:
    """A target of almost no surprise leaves few candidates, a high one many."""
    index = backend._batch.n_tokens - 1

    def different(tau: float) -> int:
        sampler = sampler_of(backend, Sampling(seed=1, mirostat=1, mirostat_tau=tau))
        return len({sampler.sample(backend._context, index) for _ in range(30)})

    assert different(0.1) < different(8.0) / 2


@pytest.mark.parametrize(
    "sampling", [Sampling(temperature=0), Sampling(seed=3), Sampling(seed=3, top_k=1)], ids=str
)
def test_banned_tokens_are_never_drawn(backend: LlamaCppBackend, logits: Array, sampling: Sampling) -> None:
    """Bans hold for greedy, free and narrow draws alike."""
    order = numpy.argsort(-logits).tolist()
    asked = {"stop_tokens": tuple(order[:3]), "min_tokens": 5}
    sampler = sampler_of(backend, sampling, **asked)
    drawn = [sampler.sample(backend._context, backend._batch.n_tokens - 1) for _ in range(20)]
    assert not set(drawn[:5]) & set(order[:3])
    assert set(drawn[5:]) & set(order[:3])


def test_only_allowed_tokens_are_drawn(backend: LlamaCppBackend, logits: Array) -> None:
    """However unlikely they are."""
    allowed = numpy.argsort(-logits)[1000:1003].tolist()
    sampler = sampler_of(backend, Sampling(seed=1), allowed_tokens=tuple(allowed))
    drawn = {sampler.sample(backend._context, backend._batch.n_tokens - 1) for _ in range(20)}
    assert drawn <= set(allowed)
    assert len(drawn) > 1
