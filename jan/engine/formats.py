"""Output formats: the form that an answer must have, and the compiler that enforces it for a model."""

from hashlib import blake2b
from typing import Protocol

import msgspec

from jan.errors import InvalidRequest
from jan.schema.tools import Tool

# Bytes of all schemas of one request, as JSON. Compiling more takes seconds, whatever the schemas say.
LONGEST_FORMAT = 500_000


class OutputFormat(msgspec.Struct, frozen=True, kw_only=True):
    """The form that an answer must have. At most one of the first four is set. Reasoning is always free.

    ``json_schema``: a schema as JSON text. ``regex``: a regular expression. ``grammar``: a grammar in llguidance's
    variant of Lark, or in llama.cpp's GBNF. ``choices``: texts to choose from. ``param``: the request's
    parameter, for errors. ``callable_tools``: the tools that the answer may call. ``must_call``: the answer is
    nothing but calls. ``parallel_calls``: several calls in one answer are allowed. ``strict``: all of
    ``json_schema`` must be enforced, or the request is refused. ``schema_path``: where the request has the schema.
    ``tool_paths``: where the request has the parameters of each callable tool; empty: in OpenAI's ``tools``.
    """

    json_schema: str = ""
    regex: str = ""
    grammar: str = ""
    choices: tuple[str, ...] = ()
    param: str = ""
    callable_tools: tuple[Tool, ...] = ()
    must_call: bool = False
    parallel_calls: bool = True
    strict: bool = False
    schema_path: str = ""
    tool_paths: tuple[str, ...] = ()

    @property
    def enforced(self) -> bool:
        """True if the answer must have a form, or must call a tool."""
        return bool(self.json_schema or self.regex or self.grammar or self.choices or self.must_call)

    @property
    def binds(self) -> bool:
        """True if anything about the answer is fixed, even if only the form of calls that it may have."""
        return self.enforced or bool(self.callable_tools)

    @property
    def schema_param(self) -> str:
        """The parameter that errors name which belong to the answer's schema."""
        return self.param or "response_format"

    @property
    def text_param(self) -> str:
        """The parameter that errors name which belong to a regular expression, a grammar or choices."""
        return self.param or "structured_outputs"

    @property
    def text_kind(self) -> str:
        """The kind of text that ``text_param`` is, in words."""
        return "list of choices" if self.choices else "regular expression" if self.regex else "grammar"

    @property
    def named(self) -> str:
        """The parameter that errors name which belong to no single schema."""
        return self.tool_path(0).partition("[")[0] if self.callable_tools else self.schema_param

    def tool_path(self, index: int) -> str:
        """Return the path in the request of a callable tool's parameters."""
        return self.tool_paths[index] if self.tool_paths else f"tools[{index}].function.parameters"

    @property
    def key(self) -> bytes:
        """A hash of the content: 16 bytes, the same for equal formats."""
        return blake2b(msgspec.json.encode(self), digest_size=16).digest()


class FormatCompiler(Protocol):
    """Makes output formats enforceable for one model.

    Thread-safe. Only ``compile_ahead`` is slow: about as long as the format's trial took.

    Usage::

        if not compiler.has_compiled(output.key):
            cheap = compiler.check_cost(output)  # if not, try the format in another process first
            compiler.compile_ahead(output)
    """

    @property
    def origin(self) -> bytes:
        """The facts about the model that a child process needs to try formats, encoded."""
        ...

    def check_cost(self, output: OutputFormat) -> bool:
        """Estimate the cost of a format without compiling it.

        Returns:
            True if the format is certain to compile quickly.

        Raises:
            InvalidRequest: if the format is certainly too costly.
        """
        ...

    def has_compiled(self, key: bytes) -> bool:
        """Return True if the format of this key is compiled and still in the cache."""
        ...

    def compile_ahead(self, output: OutputFormat) -> None:
        """Compile a format for ``Backend.prepare``. Raises InvalidRequest if it can't be enforced."""
        ...


def format_refused(reason: str, param: str, what: str = "format") -> InvalidRequest:
    """Return the error for a format that can't be enforced.

    ``reason``: a clause without a full stop. ``what``: the part of the format that has it, if that is known.
    """
    return InvalidRequest(
        f"The {what} can't be enforced: {reason.rstrip('.')}.", code="invalid_schema", param=param
    )


def schema_refused(reason: str, param: str) -> InvalidRequest:
    """Return the error for a JSON schema that can't be enforced. ``reason``: a clause without a full stop."""
    return format_refused(reason, param, "schema")
