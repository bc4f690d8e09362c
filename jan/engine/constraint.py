"""Output formats enforced while sampling: JSON schemas and tool calls, through llguidance token masks."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import llguidance
import numpy

from jan.engine.base import OutputFormat
from jan.engine.dialect import PLAIN, Dialect
from jan.engine.grammar import Spelling, grammar_of, json_rule, parameters_of
from jan.engine.grammar_cost import grammar_too_costly, regex_too_costly
from jan.engine.schema_cost import too_costly
from jan.errors import InvalidRequest

# Far above what any token's logit differs from another's, a frequency penalty of 2 for each of 4096 tokens
# included; small enough to keep float32 precise to a thousandth.
_ALLOW_BIAS = 10_000.0

# The form of llguidance's messages.
_PLACE = re.compile(r"^at \d+\(\d+\): ")
_LISTING = re.compile(r"\n(?:\s*\d+ \| |<state>)")
_UNSATISFIABLE = "NoExtensionBias"


class Vocabulary:
    """A model's tokens as llguidance wants them; ``stop_tokens`` end an answer."""

    def __init__(
        self,
        tokens: Sequence[bytes],
        special: Sequence[int],
        stop_tokens: Sequence[int],
        tokenize: Callable[[str], list[int]],
    ) -> None:
        self.tokens = tokens
        self.special_token_ids = self.special = special
        self.stop_tokens = frozenset(stop_tokens)
        self.eos_token_id = stop_tokens[0]
        self.bos_token_id = None
        self._tokenize = tokenize

    def __call__(self, text: bytes) -> list[int]:
        """Token ids of a text."""
        return self._tokenize(text.decode())


class Constraint:
    """The state of one answer under a grammar."""

    def __init__(self, matcher: llguidance.LLMatcher, stop_tokens: frozenset[int]) -> None:
        self._matcher = matcher
        self._stop_tokens = stop_tokens

    def accept(self, token: int) -> bool:
        """Take the token if the grammar allows it here; False leaves the state as it was."""
        if token in self._stop_tokens:
            return bool(self._matcher.is_accepting())
        return self._matcher.try_consume_tokens([token]) == 1

    @property
    def complete(self) -> bool:
        """Whether nothing can follow any more."""
        return bool(self._matcher.is_stopped())

    @property
    def failure(self) -> str:
        """Why the library gave up in mid-answer (its limits are on what a token costs), '' if it did not."""
        return _reason(self._matcher.get_error()) if self._matcher.is_error() else ""

    def allowed(self) -> "numpy.ndarray[Any, Any]":
        """For every token 1 if it may come next, 0 if not; longer than the vocabulary by padding."""
        packed = numpy.frombuffer(self._matcher.compute_bitmask(), dtype=numpy.uint8)
        return numpy.unpackbits(packed, bitorder="little")

    def mask(self) -> list[tuple[int, float]]:
        """Logit biases that leave only allowed tokens: whichever list is shorter, raise or forbid."""
        allowed = self.allowed()
        chosen = numpy.flatnonzero(allowed)
        if 2 * len(chosen) <= len(allowed):
            return [(token, _ALLOW_BIAS) for token in chosen.tolist()]
        return [(token, float("-inf")) for token in numpy.flatnonzero(allowed == 0).tolist()]


class GrammarCompiler:
    """Compiles output formats for one model; thread-bound, like the backend that owns it."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._tokenizer = llguidance.LLTokenizer(
            llguidance.TokenizerWrapper(vocabulary), eos_token=list(vocabulary.stop_tokens)
        )
        self._stop_tokens = vocabulary.stop_tokens
        self._spelling = Spelling({vocabulary.tokens[id_]: id_ for id_ in vocabulary.special})

    def compile(self, output: OutputFormat, dialect: Dialect = PLAIN) -> Constraint | None:
        """None for a free answer; raises InvalidRequest where a format can't be enforced."""
        # One by one, because a part that nothing satisfies does not show in the whole.
        for schema, param in _schemas(output):
            if reason := too_costly(schema):
                raise refusal(reason, param)
            matcher = self._matcher(f"start: {json_rule(schema)}", param)
        if reason := regex_too_costly(output.regex) or grammar_too_costly(output.grammar):
            raise refusal(reason, "structured_outputs")
        grammar = grammar_of(output, dialect, self._spelling)
        if grammar is None:
            return None
        if output.regex or output.grammar:
            matcher = self._matcher(grammar_of(output, PLAIN, self._spelling) or "", "structured_outputs")
        if output.callable_tools or dialect.reasoning or output.regex or output.grammar:
            matcher = self._matcher(grammar, "tools" if output.callable_tools else "response_format")
        return Constraint(matcher, self._stop_tokens)

    def _matcher(self, grammar: str, param: str) -> llguidance.LLMatcher:
        matcher = llguidance.LLMatcher(self._tokenizer, grammar, log_level=0)
        # That nothing at all satisfies a grammar shows only when its first token is asked for.
        matcher.compute_bitmask()
        if matcher.is_error():
            raise refusal(_reason(matcher.get_error()), param)
        return matcher


def _schemas(output: OutputFormat) -> list[tuple[dict[str, Any], str]]:
    """The schemas to enforce, each with the parameter that it came in."""
    tools = enumerate(output.callable_tools)
    schemas = [(parameters_of(tool), f"tools[{index}].function.parameters") for index, tool in tools]
    if output.json_schema:
        schemas.append((json.loads(output.json_schema), "response_format"))
    return schemas


def refusal(reason: str, param: str) -> InvalidRequest:
    """Tells of a format that can't be enforced."""
    kind = "regular expression or grammar" if param == "structured_outputs" else "schema"
    return InvalidRequest(f"the {kind} can't be enforced: {reason}", code="invalid_schema", param=param)


def _reason(message: str) -> str:
    """The library's own words, without the place in a grammar that no client has seen, and its listing."""
    words = _LISTING.split(_PLACE.sub("", message.strip()))[0]
    return " ".join(words.split())[:300] if words != _UNSATISFIABLE else "nothing satisfies it"
