"""Reports of answers beside their text: token ids, log probabilities in other forms, token counts in chunks."""

import codecs
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from jan.engine.base import Delta, Started
from jan.errors import InvalidRequest
from jan.schema.parameters import SamplingFields
from jan.schema.sampling import TokenLogprob, TopLogprob, Usage


class Reports(msgspec.Struct, frozen=True, kw_only=True):
    """Reports that a request asks for.

    ``token_ids``: the ids of prompt and answer. ``names_are_ids``: log probabilities name tokens by id.
    ``prompt_logprobs``: those of the prompt, in vLLM's form. ``usage_in_chunks``: each chunk has token counts.
    ``reasoning``: the answer has its reasoning.
    """

    token_ids: bool = False
    names_are_ids: bool = False
    prompt_logprobs: bool = False
    usage_in_chunks: bool = False
    reasoning: bool = True

    @property
    def in_chunks(self) -> bool:
        """True if chunks differ in more than their text."""
        return self.token_ids or self.names_are_ids or self.usage_in_chunks

    def named(self, logprobs: Iterable[TokenLogprob]) -> list[TokenLogprob]:
        """Return log probabilities as the request wants their tokens named."""
        return [self._named(one) for one in logprobs] if self.names_are_ids else [_bare(one) for one in logprobs]

    def _named(self, one: TokenLogprob) -> TokenLogprob:
        tops = [msgspec.structs.replace(top, token=_by_id(top), token_id=UNSET) for top in one.top_logprobs]
        return msgspec.structs.replace(one, token=_by_id(one), token_id=UNSET, rank=UNSET, top_logprobs=tops)


def reports_of(body: SamplingFields, *, reasoning: bool = True) -> Reports:
    """Return the reports that a request asks for. Raises InvalidRequest for what a stream has no place for."""
    if body.stream and body.prompt_logprobs is not None:
        raise InvalidRequest("prompt_logprobs: Not allowed with stream.", param="prompt_logprobs")
    options = body.stream_options
    return Reports(
        token_ids=bool(body.return_token_ids),
        names_are_ids=bool(body.return_tokens_as_token_ids),
        prompt_logprobs=body.prompt_logprobs is not None,
        usage_in_chunks=options is not None and bool(options.include_usage and options.continuous_usage_stats),
        reasoning=reasoning,
    )


def _by_id(one: TopLogprob) -> str:
    return f"token_id:{one.token_id}"


def _bare(one: TokenLogprob) -> TokenLogprob:
    """Return a log probability without token ids, which were computed for something else."""
    if one.token_id is UNSET:
        return one
    tops = [msgspec.structs.replace(top, token_id=UNSET) for top in one.top_logprobs]
    return msgspec.structs.replace(one, token_id=UNSET, rank=UNSET, top_logprobs=tops)


def prompt_scores(logprobs: Sequence[TokenLogprob]) -> list[dict[str, dict[str, Any]] | None]:
    """Return log probabilities of a prompt's tokens in vLLM's form: by token id, and null for the first one."""
    scores: list[dict[str, dict[str, Any]] | None] = [None]
    for one in logprobs[1:]:
        tops = {str(top.token_id): _score(top, rank) for rank, top in enumerate(one.top_logprobs, 1)}
        scores.append({str(one.token_id): _score(one, one.rank)} | tops)
    return scores


def _score(one: TopLogprob, rank: Any) -> dict[str, Any]:
    return {"logprob": one.logprob, "rank": rank, "decoded_token": one.token}


class RunningUsage:
    """Counts the tokens of a stream for its chunks."""

    def __init__(self) -> None:
        self._prompts: dict[int, int] = {}
        self._completion = 0

    def add(self, index: int, event: object) -> None:
        """Count an event of the sequence at ``index``."""
        if isinstance(event, Started):
            self._prompts[index] = event.prompt_tokens
        elif isinstance(event, Delta):
            self._completion += event.tokens

    def usage(self, choices: int) -> Usage:
        """Return the counts so far; each prompt has this many choices and counts once."""
        prompt = sum({index // choices: tokens for index, tokens in self._prompts.items()}.values())
        return Usage(
            prompt_tokens=prompt, completion_tokens=self._completion, total_tokens=prompt + self._completion
        )


class TextOffsets:
    """Counts where the text of each token begins, in characters: a character that takes several tokens counts with
    the last of them."""

    def __init__(self, start: int = 0) -> None:
        self._at = start
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def next(self, tokens: Iterable[TokenLogprob]) -> list[int]:
        """Return the offsets of the next tokens."""
        offsets = []
        for token in tokens:
            offsets.append(self._at)
            self._at += len(self._decoder.decode(bytes(token.bytes or ())))
        return offsets
