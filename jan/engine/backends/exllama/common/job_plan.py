"""The plan of a library's job, the same for both libraries."""

import msgspec

from jan.engine.backends.common import TokenizedRequest
from jan.engine.backends.token_rules import TokenRules
from jan.engine.grammars.constraint import Constraint


class JobPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One sequence to generate, as ``SampledJob`` of either library takes it.

    ``limit``: most tokens to generate. ``rules``: sampling, bans and penalties. ``vocabulary``: the
    number of tokens; the model's logits may have more columns.
    ``keep_logits``: keep the model's own logits of each token, for log probabilities.
    """

    tokens: list[int]
    limit: int
    rules: TokenRules
    constraint: Constraint | None
    vocabulary: int
    keep_logits: bool


def plan_of(request: TokenizedRequest, vocabulary: int, early: int = 0) -> JobPlan:
    """Return the plan of a request. ``early``: tokens by which the library stops before a limit, added to it."""
    return JobPlan(
        tokens=request.tokens,
        limit=request.limit + early,
        rules=request.rules,
        constraint=request.constraint,
        vocabulary=vocabulary,
        keep_logits=request.request.logprobs is not None,
    )
