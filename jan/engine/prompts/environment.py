"""The sandbox in which chat templates run: the filters, tags and functions that transformers gives them.

Templates of models are written for ``transformers.utils.chat_template_utils``. So a template that renders there
must render the same text here.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NoReturn

import jinja2
import jinja2.meta
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from jan.engine.prompts.render_budget import TooCostly
from jan.engine.prompts.sandbox import CountingSandbox
from jan.engine.prompts.segments import NONCHARACTERS
from jan.engine.refusals import reason_of
from jan.errors import ConfigurationError, InvalidRequest

Clock = Callable[[], datetime]

# Every error that a template's expression can raise: 1 / 0, a missing attribute, a sum of text and number.
_RENDERING = (
    jinja2.TemplateError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)
# Tests and filters that make sense only for a variable that may be missing.
_ASKING = frozenset({"defined", "undefined", "none", "default", "d"})
# Errors of Python's compiler on what Jinja made of a template: too deep, too long, a break without its loop.
_COMPILING = (jinja2.TemplateError, MemoryError, OverflowError, RecursionError, SyntaxError, TypeError, ValueError)


# Characters that JSON in ASCII escapes, but for noncharacters: those are the marks of texts of the request.
_ESCAPED = re.compile(f"[^\0-~{NONCHARACTERS}]+")
_UNMARKED = MappingProxyType(dict.fromkeys(map(ord, NONCHARACTERS)))


class TemplateTooCostly(InvalidRequest):
    """A template exceeds the budget of one rendering."""


class CompiledTemplate:
    """A chat template that can be rendered.

    ``variables``: names that it reads and need not set itself. ``words``: its attributes and string constants.

    Raises:
        ConfigurationError: if the source is not a valid template, with the line.
    """

    def __init__(self, source: str, clock: Clock = datetime.now) -> None:
        environment = _environment(clock)
        self._budget = environment.budget
        try:
            tree = environment.parse(source)
            self._template = environment.from_string(source)
        except _COMPILING as error:
            raise ConfigurationError(
                f"The model's chat template can't be read{_place(environment, source, error)}: {_reason(error)}."
            ) from error
        self.variables = _variables(tree) - frozenset(environment.globals)
        constants = (node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str))
        self.words = frozenset(constants) | {node.attr for node in tree.find_all(nodes.Getattr)}

    def render(self, variables: Mapping[str, Any]) -> str:
        """Return the text. Raises InvalidRequest ``unsupported_messages`` with the template's reason.

        A template that exceeds its budget is stopped. One that looks at all messages again for each message may.
        """
        self._budget.begin(variables.values())
        try:
            return self._template.render(variables)
        except TooCostly as error:
            raise unsupported(str(error), TemplateTooCostly) from error
        except _RENDERING as error:
            raise unsupported(reason_of(error)) from error


def _variables(tree: nodes.Template) -> frozenset[str]:
    """Return the names that a template reads from outside.

    Jinja also finds those that are set in one branch and read in another. They count only where the template asks
    whether they are there.
    """
    asked = {
        node.node.name
        for node in tree.find_all((nodes.Test, nodes.Filter))
        if node.name in _ASKING and isinstance(node.node, nodes.Name)
    }
    own = {node.name for node in tree.find_all(nodes.Name) if node.ctx == "store"}
    own |= {macro.name for macro in tree.find_all(nodes.Macro)}
    return frozenset(jinja2.meta.find_undeclared_variables(tree)) - (own - asked)


def unsupported(reason: str, kind: type[InvalidRequest] = InvalidRequest) -> InvalidRequest:
    """Return the error for messages that a template can't render."""
    return kind(
        f"The model's chat template does not take these messages: {reason.translate(_UNMARKED)}.",
        code="unsupported_messages",
        param="messages",
    )


class _Generation(Extension):
    """Renders the body of ``{% generation %}``, which marks an answer's tokens for training."""

    tags = {"generation"}  # noqa: RUF012 - as Jinja's own extensions declare it

    def parse(self, parser: Parser) -> nodes.Node:
        """Return the body with a scope of its own."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


def _environment(clock: Clock) -> CountingSandbox:
    environment = CountingSandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda pattern: clock().strftime(pattern)
    environment.add_filter("tojson", _to_json)
    return environment


def _refuse(message: Any) -> NoReturn:
    raise jinja2.TemplateError(str(message))


def _to_json(
    x: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    # Not Jinja's own filter: it escapes <, > and & for HTML, and no model was trained on that.
    text = json.dumps(x, ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys)
    return _ESCAPED.sub(lambda run: json.dumps(run[0])[1:-1], text) if ensure_ascii else text


def _place(environment: CountingSandbox, source: str, error: BaseException) -> str:
    """Return the template's line that an error of compiling names, as ", line 3"; '' if it names none."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f", line {error.lineno}"
    if not isinstance(error, SyntaxError) or error.lineno is None:
        return ""
    # The line is that of the Python code. Its last statement maps template lines to lines of code: '1=12&3=15'.
    code = environment.compile(source, raw=True)
    pairs = (pair.split("=") for pair in code.rpartition("debug_info = ")[2].strip("'\n").split("&"))
    lines = [int(line) for line, at in pairs if int(at) <= error.lineno]
    return f", line {lines[-1]}" if lines else ""


def _reason(error: BaseException) -> str:
    reason = error.msg if isinstance(error, SyntaxError) else getattr(error, "message", None)
    return str(reason).rstrip(".") if reason else reason_of(error)
