"""What an answer must look like, as engines take it, and what compiles that for a model."""

from hashlib import blake2b
from typing import Protocol

import msgspec

from jan.errors import InvalidRequest
from jan.schema.chat import Tool

# Bytes of all that one request wants enforced, as JSON: compiling more takes seconds, whatever it says.
LONGEST_FORMAT = 500_000


class OutputFormat(msgspec.Struct, frozen=True, kw_only=True):
    """What the text must look like: ``json_schema`` is a JSON text, ``regex`` a regular expression, ``grammar``
    one in llguidance's Lark; '' leaves the answer free, and there is one of them at most. Reasoning is
    always free.

    ``must_call``: the answer is a call of one of ``callable_tools``; otherwise it may be one.
    """

    json_schema: str = ""
    regex: str = ""
    grammar: str = ""
    callable_tools: tuple[Tool, ...] = ()
    must_call: bool = False
    parallel_calls: bool = True

    @property
    def enforced(self) -> bool:
        """Whether the model must be held to it."""
        return bool(self.json_schema or self.regex or self.grammar or self.must_call)

    @property
    def binds(self) -> bool:
        """Whether anything about the answer is fixed, if only what a call must be like."""
        return self.enforced or bool(self.callable_tools)

    @property
    def key(self) -> bytes:
        """What is the same for formats of the same content."""
        return blake2b(msgspec.json.encode(self), digest_size=16).digest()


class FormatCompiler(Protocol):
    """What makes output formats enforceable for one model. Any thread may call it; nothing here takes as long as
    ``make``, and that only for as long as a format's trial took."""

    @property
    def origin(self) -> bytes:
        """What a child process needs to know of the model, to try formats."""
        ...

    def measure(self, output: OutputFormat) -> bool:
        """Look at a format without compiling it: whether it can't but be quick; raises InvalidRequest for one
        that is too much."""
        ...

    def has(self, key: bytes) -> bool:
        """Whether the format of this key was made and is still here."""
        ...

    def make(self, output: OutputFormat) -> None:
        """Compile a format, so that ``prepare`` finds it; raises InvalidRequest where it can't be enforced."""
        ...


def format_refused(reason: str, param: str) -> InvalidRequest:
    """Tells of a format that can't be enforced."""
    is_schema = param == "response_format" or param.startswith("tools") or param.endswith("json")
    kind = "schema" if is_schema else "regular expression or grammar"
    return InvalidRequest(f"the {kind} can't be enforced: {reason}", code="invalid_schema", param=param)
