"""Enforce output formats while sampling: JSON schemas, tool calls and grammars, with llguidance's token masks."""

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import llguidance
import msgspec
import numpy

from jan.engine.formats import LONGEST_FORMAT, OutputFormat, format_refused, schema_refused
from jan.engine.grammars.compiled_formats import CompiledFormat, FormatCache
from jan.engine.grammars.enforceable import enforceable, schemas_of
from jan.engine.grammars.grammar import grammar_of, lark_grammar
from jan.engine.grammars.grammar_cost import grammar_too_costly, regex_too_costly, text_too_long
from jan.engine.grammars.lark import Spelling, json_rule, parameters_of
from jan.engine.grammars.schema_cost import is_simple, schema_too_costly
from jan.engine.prompts.dialects import PLAIN, Dialect

# Larger than any difference between logits, even with a frequency penalty of 2 for each of 4096 tokens. Small
# enough to keep float32 logits precise to a thousandth.
_ALLOW_BIAS = 10_000.0

# Characters of fixed text that are tokenised to find the next token. No measured token was nearly as long.
_LOOK_AHEAD = 512

# Bytes. A format of simple schemas that is at most this long compiles in a few ms.
_SHORT_FORMAT = 4_000

# Parts of llguidance's messages.
_PLACE = re.compile(r"^at \d+\(\d+\): ")
_LISTING = re.compile(r"\n(?:\s*\d+ \| |<state>)")
_UNSATISFIABLE = "NoExtensionBias"


class Vocabulary:
    """A model's tokens, as llguidance's ``TokenizerWrapper`` wants them.

    Args:
        tokens: the bytes of each token, by token id.
        special: ids of control tokens, which are never text.
        stop_tokens: ids of tokens that end an answer; the first one ends a text.
        tokenize: the model's own tokenizer; None if it is not known, as in a trial process.
    """

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
        """Return the token ids of the beginning of a text.

        Where a format leaves no choice, the library passes all of the fixed text before each token, and uses only
        the first id.
        """
        return self.tokenize(text[:_LOOK_AHEAD].decode(errors="ignore")) if self.tokenize else []


class Constraint:
    """The state of one answer under a grammar.

    Usage::

        token = sample(logits)
        if not constraint.accept(token):
            token = sample(logits, constraint.mask())
            constraint.accept(token)
    """

    def __init__(self, matcher: llguidance.LLMatcher, stop_tokens: frozenset[int]) -> None:
        self._matcher = matcher
        self._stop_tokens = stop_tokens

    def accept(self, token: int) -> bool:
        """Advance by a token. Returns False, and changes nothing, if the grammar does not allow the token."""
        if token in self._stop_tokens:
            return bool(self._matcher.is_accepting())
        return self._matcher.try_consume_tokens([token]) == 1

    @property
    def complete(self) -> bool:
        """True if the grammar allows no further token."""
        return bool(self._matcher.is_stopped())

    @property
    def failure(self) -> str:
        """Why the library gave up, because a token exceeded its limits of cost; '' if it did not."""
        return _reason(self._matcher.get_error()) if self._matcher.is_error() else ""

    def allowed(self) -> "numpy.ndarray[Any, Any]":
        """Return the tokens that may come next: uint8 [vocab + padding], 1 for allowed and 0 for forbidden."""
        packed = numpy.frombuffer(self._matcher.compute_bitmask(), dtype=numpy.uint8)
        return numpy.unpackbits(packed, bitorder="little")

    def mask(self) -> list[tuple[int, float]]:
        """Return logit biases that leave only allowed tokens: raise the allowed or forbid the others, the shorter
        list."""
        allowed = self.allowed()
        chosen = numpy.flatnonzero(allowed)
        if 2 * len(chosen) <= len(allowed):
            return [(token, _ALLOW_BIAS) for token in chosen.tolist()]
        return [(token, float("-inf")) for token in numpy.flatnonzero(allowed == 0).tolist()]


class CompilerOrigin(msgspec.Struct, frozen=True):
    """The facts about a model that its compiler is made from; see ``Vocabulary``."""

    tokens: list[bytes]
    special: list[int]
    stop_tokens: list[int]
    dialect: Dialect


class GrammarCompiler:
    """Compiles output formats for one model. Thread-safe.

    Compiling may take a second, which would stop the engine's thread. So ``compile_ahead`` compiles on another
    thread into a cache, and ``compile`` gives each answer a copy.

    Args:
        vocabulary: the model's tokens.
        dialect: how the model's chats are written.
    """

    def __init__(self, vocabulary: Vocabulary, dialect: Dialect = PLAIN) -> None:
        ends = [vocabulary.eos_token_id, *(vocabulary.stop_tokens - {vocabulary.eos_token_id})]
        self._tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(vocabulary), eos_token=ends)
        vocabulary.tokenize = vocabulary.tokenize or self._tokenizer.greedy_tokenize
        self._stop_tokens = vocabulary.stop_tokens
        self._spelling = Spelling({vocabulary.tokens[id_]: id_ for id_ in vocabulary.special})
        self._origin = CompilerOrigin(list(vocabulary.tokens), list(vocabulary.special), ends, dialect)
        self._cache = FormatCache()

    @classmethod
    def of(cls, origin: bytes) -> "GrammarCompiler":
        """Return a copy of the compiler with this origin. It may tokenise fixed text differently."""
        known = msgspec.msgpack.decode(origin, type=CompilerOrigin)
        return cls(Vocabulary(known.tokens, known.special, known.stop_tokens, None), known.dialect)

    @property
    def origin(self) -> bytes:
        """The argument of ``of``, for another process."""
        return msgspec.msgpack.encode(self._origin)

    def variants_of(self, output: OutputFormat) -> Sequence[Dialect]:
        """Return all dialects that answers of this format may have; PLAIN is that of text completions."""
        variants = self._origin.dialect.variants
        return variants if output.callable_tools else tuple(dict.fromkeys((*variants, PLAIN)))

    def check_cost(self, output: OutputFormat) -> bool:
        """Return True if a format is certain to compile quickly. Raises InvalidRequest if it is too costly."""
        left, simple = LONGEST_FORMAT, not (output.regex or output.grammar or output.choices)
        for one in schemas_of(output):
            left -= len(msgspec.json.encode(one.schema))
            if left < 0:
                raise schema_refused(
                    f"together with those before it, it is more than {LONGEST_FORMAT} bytes long", one.param
                )
            if reason := schema_too_costly(one.schema, one.strict):
                raise schema_refused(reason, one.param)
            simple = simple and is_simple(one.schema)
        if reason := regex_too_costly(output.regex) or _grammar_refused(output.grammar):
            raise format_refused(reason, output.text_param, output.text_kind)
        return simple and LONGEST_FORMAT - left <= _SHORT_FORMAT

    def has_compiled(self, key: bytes) -> bool:
        """Return True if the format of this key is in the cache."""
        return self._cache.get(key) is not None

    def compile_ahead(self, output: OutputFormat) -> None:
        """Compile a format into the cache. Raises InvalidRequest if it can't be enforced."""
        began = time.thread_time()
        compiled = self.matchers(output, self.variants_of(output))
        self._cache.put(output.key, compiled, time.thread_time() - began)

    def compile(self, output: OutputFormat, dialect: Dialect = PLAIN) -> Constraint | None:
        """Return the constraint of a new answer, None if anything is allowed.

        Raises InvalidRequest if the format can't be enforced.
        """
        return self.compile_noted(output, dialect)[0]

    def compile_noted(
        self, output: OutputFormat, dialect: Dialect = PLAIN
    ) -> tuple[Constraint | None, tuple[str, ...]]:
        """Return the constraint of a new answer, None if anything is allowed, and the paths of what it leaves out.

        Raises InvalidRequest if the format can't be enforced.
        """
        if not output.binds:
            return None, ()
        compiled = self._cache.get(output.key)
        if compiled is None or dialect not in compiled.matchers:
            self.check_cost(output)
            compiled = self.matchers(output, (dialect,))
        matcher = compiled.matchers[dialect]
        constraint = None if matcher is None else Constraint(matcher.deep_copy(), self._stop_tokens)
        return constraint, compiled.relaxed

    def matchers(
        self,
        output: OutputFormat,
        dialects: Sequence[Dialect],
        on_param: Callable[[str], None] = lambda param: None,
    ) -> CompiledFormat:
        """Compile a format for several dialects. ``on_param`` gets each parameter before it is compiled."""
        output, relaxed = msgspec.structs.astuple(enforceable(output, refusal_of, on_param))
        whole = {dialect: grammar_of(output, dialect, self._spelling) for dialect in dialects}
        made: dict[str, llguidance.LLMatcher] = {}
        wholes = ((grammar, output.named, "format") for grammar in whole.values())
        for grammar, param, what in [*self._parts(output), *wholes]:
            if grammar is not None and grammar not in made:
                on_param(param)
                made[grammar] = self._matcher(grammar, param, what)
        matchers = {dialect: None if grammar is None else made[grammar] for dialect, grammar in whole.items()}
        return CompiledFormat(matchers, relaxed)

    def _parts(self, output: OutputFormat) -> Iterator[tuple[str, str, str]]:
        """Yield the grammar of each part alone, its parameter, and what it is. The whole hides a part that nothing
        satisfies."""
        for index, tool in enumerate(output.callable_tools):
            yield f"start: {json_rule(parameters_of(tool))}", output.tool_path(index), "schema"
        if output.json_schema:
            yield f"start: {json_rule(json.loads(output.json_schema))}", output.schema_param, "schema"
        if output.regex or output.grammar or output.choices:
            yield grammar_of(output, PLAIN, self._spelling) or "", output.text_param, output.text_kind

    def _matcher(self, grammar: str, param: str, what: str) -> llguidance.LLMatcher:
        matcher = llguidance.LLMatcher(self._tokenizer, grammar, log_level=0)
        # Only the first mask shows that nothing satisfies a grammar.
        matcher.compute_bitmask()
        if matcher.is_error():
            raise format_refused(_reason(matcher.get_error()), param, what)
        return matcher


def refusal_of(schema: Any) -> str:
    """Return why the compiler can't express a schema, '' if it can."""
    return _reason(str(llguidance.LLMatcher.validate_grammar(f"start: {json_rule(schema)}")))


def _grammar_refused(grammar: str) -> str:
    """Return why a grammar can't be enforced or is too costly to compile, '' if neither is known."""
    if too_long := text_too_long(grammar):
        return too_long
    try:
        return grammar_too_costly(lark_grammar(grammar))
    except ValueError as error:
        return str(error)


def _reason(message: str) -> str:
    """Return the library's words, without its listing of a grammar that no client has seen."""
    words = _LISTING.split(_PLACE.sub("", message.strip()))[0]
    return " ".join(words.split())[:300] if words != _UNSATISFIABLE else "nothing satisfies it"
