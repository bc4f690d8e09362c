"""Output formats enforced while sampling: JSON schemas and tool calls, through llguidance token masks."""

import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import llguidance
import msgspec
import numpy

from jan.engine.formats import LONGEST_FORMAT, OutputFormat, format_refused
from jan.engine.grammars.grammar import Spelling, grammar_of, json_rule, parameters_of
from jan.engine.grammars.grammar_cost import grammar_too_costly, regex_too_costly
from jan.engine.grammars.schema_cost import is_simple, too_costly
from jan.engine.prompts.dialects import PLAIN, Dialect

# Far above what any token's logit differs from another's, a frequency penalty of 2 for each of 4096 tokens
# included; small enough to keep float32 precise to a thousandth.
_ALLOW_BIAS = 10_000.0

# Of what is fixed, so much is tokenised to know the next token; measured: no token is near as long.
_LOOK_AHEAD = 512

# A format of simple schemas that is no longer compiles in a few ms.
_SHORT = 4_000

# What is kept of compiled formats: their memory goes with the seconds that they took, about 200 MB for each.
_KEPT_SECONDS = 2.0
_KEPT_FORMATS = 128

# The form of llguidance's messages.
_PLACE = re.compile(r"^at \d+\(\d+\): ")
_LISTING = re.compile(r"\n(?:\s*\d+ \| |<state>)")
_UNSATISFIABLE = "NoExtensionBias"


class Vocabulary:
    """A model's tokens as llguidance wants them; ``stop_tokens`` end an answer. ``tokenize``: how the model splits
    text, None where only its tokens are known."""

    def __init__(
        self,
        tokens: Sequence[bytes],
        special: Sequence[int],
        stop_tokens: Sequence[int],
        tokenize: Callable[[str], list[int]] | None,
    ) -> None:
        self.tokens = tokens
        self.special_token_ids = self.special = special
        self.stop_tokens = frozenset(stop_tokens)
        self.eos_token_id = stop_tokens[0]
        self.bos_token_id = None
        self.tokenize = tokenize

    def __call__(self, text: bytes) -> list[int]:
        """Token ids of a text's beginning. Where a format leaves no choice, the library asks for those of all
        that is fixed, before each token, and then goes by the first."""
        return self.tokenize(text[:_LOOK_AHEAD].decode(errors="ignore")) if self.tokenize else []


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


class Origin(msgspec.Struct, frozen=True):
    """What a model's formats are compiled from; the first stop token is the one that ends a text."""

    tokens: list[bytes]
    special: list[int]
    stop_tokens: list[int]
    dialect: Dialect


Matchers = Mapping[Dialect, llguidance.LLMatcher | None]


class _CachedGrammar:
    """Compiled formats by key, each in all its dialects; the oldest go first. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._formats: OrderedDict[bytes, tuple[Matchers, float]] = OrderedDict()

    def get(self, key: bytes) -> Matchers | None:
        with self._lock:
            if key not in self._formats:
                return None
            self._formats.move_to_end(key)
            return self._formats[key][0]

    def put(self, key: bytes, matchers: Matchers, seconds: float) -> None:
        with self._lock:
            self._formats[key] = matchers, seconds
            self._formats.move_to_end(key)
            while len(self._formats) > 1 and self._is_full():
                self._formats.popitem(last=False)

    def _is_full(self) -> bool:
        total = sum(seconds for _, seconds in self._formats.values())
        return total > _KEPT_SECONDS or len(self._formats) > _KEPT_FORMATS


class GrammarCompiler:
    """Compiles output formats for one model, whose chats have a ``dialect``. Any thread may call it.

    What ``make`` compiled is kept for a while, and an answer gets a copy: compiling may take a second, and the
    engine's thread has none.
    """

    def __init__(self, vocabulary: Vocabulary, dialect: Dialect = PLAIN) -> None:
        ends = [vocabulary.eos_token_id, *(vocabulary.stop_tokens - {vocabulary.eos_token_id})]
        self._tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(vocabulary), eos_token=ends)
        vocabulary.tokenize = vocabulary.tokenize or self._tokenizer.greedy_tokenize
        self._stop_tokens = vocabulary.stop_tokens
        self._spelling = Spelling({vocabulary.tokens[id_]: id_ for id_ in vocabulary.special})
        self._origin = Origin(list(vocabulary.tokens), list(vocabulary.special), ends, dialect)
        self._kept = _CachedGrammar()

    @classmethod
    def of(cls, origin: bytes) -> "GrammarCompiler":
        """The like of another one; text that is fixed is split otherwise, as far as its tokens leave a choice."""
        known = msgspec.msgpack.decode(origin, type=Origin)
        return cls(Vocabulary(known.tokens, known.special, known.stop_tokens, None), known.dialect)

    @property
    def origin(self) -> bytes:
        """What ``of`` takes."""
        return msgspec.msgpack.encode(self._origin)

    @property
    def variants(self) -> Sequence[Dialect]:
        """The dialects that a chat's answer may have."""
        return self._origin.dialect.variants

    def measure(self, output: OutputFormat) -> bool:
        """Whether a format can't but compile quickly; raises InvalidRequest where it is seen to be too much."""
        left, simple = LONGEST_FORMAT, not (output.regex or output.grammar)
        for schema, param in _schemas(output):
            left -= len(msgspec.json.encode(schema))
            if left < 0:
                raise format_refused(f"with those before it, it is more than {LONGEST_FORMAT} bytes long", param)
            if reason := too_costly(schema):
                raise format_refused(reason, param)
            simple = simple and is_simple(schema)
        if reason := regex_too_costly(output.regex) or grammar_too_costly(output.grammar):
            raise format_refused(reason, "structured_outputs")
        return simple and LONGEST_FORMAT - left <= _SHORT

    def has(self, key: bytes) -> bool:
        """Whether a format is kept."""
        return self._kept.get(key) is not None

    def make(self, output: OutputFormat) -> None:
        """Compile and keep; raises InvalidRequest where a format can't be enforced."""
        began = time.thread_time()
        matchers = self.matchers(output, self.variants)
        self._kept.put(output.key, matchers, time.thread_time() - began)

    def compile(self, output: OutputFormat, dialect: Dialect = PLAIN) -> Constraint | None:
        """None for a free answer; raises InvalidRequest where a format can't be enforced."""
        if not output.binds:
            return None
        matchers = self._kept.get(output.key)
        if matchers is None or dialect not in matchers:
            self.measure(output)
            matchers = self.matchers(output, (dialect,))
        matcher = matchers[dialect]
        return None if matcher is None else Constraint(matcher.deep_copy(), self._stop_tokens)

    def matchers(
        self, output: OutputFormat, dialects: Sequence[Dialect], tell: Callable[[str], None] = lambda param: None
    ) -> Matchers:
        """Compile for several dialects. ``tell`` hears which parameter comes next."""
        whole = {dialect: grammar_of(output, dialect, self._spelling) for dialect in dialects}
        param = "tools" if output.callable_tools else "response_format"
        made: dict[str, llguidance.LLMatcher] = {}
        for grammar, param_of in [*self._parts(output), *((grammar, param) for grammar in whole.values())]:
            if grammar is not None and grammar not in made:
                tell(param_of)
                made[grammar] = self._matcher(grammar, param_of)
        return {dialect: None if grammar is None else made[grammar] for dialect, grammar in whole.items()}

    def _parts(self, output: OutputFormat) -> Iterator[tuple[str, str]]:
        """Each format for itself, because a part that nothing satisfies does not show in the whole."""
        for schema, param in _schemas(output):
            yield f"start: {json_rule(schema)}", param
        if output.regex or output.grammar:
            yield grammar_of(output, PLAIN, self._spelling) or "", "structured_outputs"

    def _matcher(self, grammar: str, param: str) -> llguidance.LLMatcher:
        matcher = llguidance.LLMatcher(self._tokenizer, grammar, log_level=0)
        # That nothing at all satisfies a grammar shows only when its first token is asked for.
        matcher.compute_bitmask()
        if matcher.is_error():
            raise format_refused(_reason(matcher.get_error()), param)
        return matcher


def _schemas(output: OutputFormat) -> list[tuple[dict[str, Any], str]]:
    """The schemas to enforce, each with the parameter that it came in."""
    tools = enumerate(output.callable_tools)
    schemas = [(parameters_of(tool), f"tools[{index}].function.parameters") for index, tool in tools]
    if output.json_schema:
        schemas.append((json.loads(output.json_schema), "response_format"))
    return schemas


def _reason(message: str) -> str:
    """The library's own words, without the place in a grammar that no client has seen, and its listing."""
    words = _LISTING.split(_PLACE.sub("", message.strip()))[0]
    return " ".join(words.split())[:300] if words != _UNSATISFIABLE else "nothing satisfies it"
