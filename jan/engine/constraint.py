"""Output formats enforced while sampling: JSON schemas and tool calls, through llguidance token masks."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import llguidance
import numpy

from jan.engine.base import OutputFormat
from jan.engine.prompt import CALL_CLOSE, CALL_OPEN
from jan.engine.schema_cost import too_costly
from jan.errors import InvalidRequest
from jan.schema.chat import Tool

# Compact JSON: with free white space a small model may spend its whole budget on line breaks.
_JSON_OPTIONS: dict[str, Any] = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
# Far above what any token's logit differs from another's, a frequency penalty of 2 for each of 4096 tokens
# included; small enough to keep float32 precise to a thousandth.
_ALLOW_BIAS = 10_000.0

# In one answer; a small model that is told to call would otherwise not stop calling.
_MAX_CALLS = 16

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
        self.special_token_ids = special
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

    def mask(self) -> list[tuple[int, float]]:
        """Logit biases that leave only allowed tokens: whichever list is shorter, raise or forbid."""
        packed = numpy.frombuffer(self._matcher.compute_bitmask(), dtype=numpy.uint8)
        allowed = numpy.unpackbits(packed, bitorder="little")
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

    def compile(self, output: OutputFormat) -> Constraint | None:
        """None for a free answer; raises InvalidRequest where a schema can't be enforced."""
        grammar = grammar_of(output)
        if grammar is None:
            return None
        # One by one, because a part that nothing satisfies does not show in the whole.
        for schema, param in _schemas(output):
            if reason := too_costly(schema):
                raise refusal(reason, param)
            matcher = self._matcher(f"start: {_json(schema)}", param)
        if output.callable_tools:
            matcher = self._matcher(grammar, "tools")
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
    schemas = [(_parameters(tool), f"tools[{index}].function.parameters") for index, tool in tools]
    if output.json_schema:
        schemas.append((json.loads(output.json_schema), "response_format"))
    return schemas


def _parameters(tool: Tool) -> dict[str, Any]:
    return tool.function.parameters or {"type": "object"}


def refusal(reason: str, param: str) -> InvalidRequest:
    """Tells of a schema that can't be enforced."""
    return InvalidRequest(f"the schema can't be enforced: {reason}", code="invalid_schema", param=param)


def grammar_of(output: OutputFormat) -> str | None:
    """The Lark grammar of an output format, None where everything is allowed."""
    if not output.callable_tools:
        return f"start: {_json(json.loads(output.json_schema))}" if output.json_schema else None
    rules = [_body_rule(index, tool) for index, tool in enumerate(output.callable_tools)]
    anyone = " | ".join(f"body_{index}" for index in range(len(rules)))
    opening = json.dumps(CALL_OPEN)
    more = f'("\\n" {opening} body){{0,{_MAX_CALLS - 1}}}' if output.parallel_calls else ""
    lines = [f"body: {anyone}", *rules, f"calls: {opening} body {more}"]
    if output.must_call:
        return "\n".join(["start: calls", *lines])
    if output.json_schema:
        answer = f"answer: {_json(json.loads(output.json_schema))}"
        return "\n".join(["start: calls | answer", answer, *lines])
    # Free text up to the opening tag, from there on valid calls; lazy, so that the tag ends the text.
    free = [f"start: lead body {more} | TEXT", f"lead[lazy]: TEXT {opening}", r"TEXT: /(.|\n)*/"]
    return "\n".join([*free, *lines[:-1]])


def _json(schema: dict[str, Any]) -> str:
    return "%json " + json.dumps({**schema, "x-guidance": _JSON_OPTIONS})


def _body_rule(index: int, tool: Tool) -> str:
    opening = json.dumps(f'\n{{"name": {json.dumps(tool.function.name)}, "arguments": ')
    closing = json.dumps(f"}}\n{CALL_CLOSE}")
    parameters = _json(_parameters(tool))
    return f"body_{index}: {opening} arguments_{index} {closing}\narguments_{index}: {parameters}"


def _reason(message: str) -> str:
    """The library's own words, without the place in a grammar that no client has seen, and its listing."""
    words = _LISTING.split(_PLACE.sub("", message.strip()))[0]
    return " ".join(words.split())[:300] if words != _UNSATISFIABLE else "nothing satisfies it"
