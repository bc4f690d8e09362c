"""Jinja's sandbox with a budget: what a template can repeat counts, and what can make something large.

The tree of a template is changed before it is compiled: loops, lists and joined texts pass through filters of
ours, whose names no template can spell. Jinja computes constants when it compiles, through the same filters.
"""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from jan.engine.prompts.render_budget import RenderBudget

_EACH, _MADE, _JOINED, _SEEN = "each item", "made value", "joined texts", "seen value"
# Tests that compare, as operators do.
_COMPARING = (
    *("eq", "equalto", "==", "ne", "!=", "lt", "lessthan", "<", "le", "<="),
    *("gt", "greaterthan", ">", "ge", ">=", "in"),
)
# Functions whose result is longer than what they are given by a number that they are given.
_WIDENING = frozenset(
    {"batch", "center", "expandtabs", "indent", "ljust", "pprint", "rjust", "round", "slice", "to_bytes", "tojson"}
) | {"truncate", "wordwrap", "zfill"}
# Widths in formats: %1000d, {:>1000}, and those that come from an argument: %*d, {:{}}.
_WIDE = re.compile(r"\d{5,}")
_NESTED = re.compile(r"\*|\{[^{}]*\{")
# Those that apply the number, or a text, to each line or item.
_EACH_ROW = frozenset({"expandtabs", "indent", "tojson", "wordwrap"})
# Filters that take much longer for a character than others, and how much longer.
_SLOW = frozenset({"striptags", "title", "urlencode", "urlize"})
_SLOWNESS = 32


class CountingSandbox(ImmutableSandboxedEnvironment):
    """Transformers' sandbox with a ``budget`` for each rendering."""

    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.budget = RenderBudget()
        # Makes a million words of Latin, and no template of a model needs it.
        del self.globals["lipsum"]
        self.filters = {name: self._counted(name, function) for name, function in self.filters.items()}
        self.tests |= {name: self._looking(cast(Callable[..., Any], self.tests[name])) for name in _COMPARING}
        self.finalize = self.budget.look
        self.filters |= {
            _EACH: self.budget.each,
            _MADE: self.budget.charge,
            _SEEN: self.budget.look,
            _JOINED: lambda texts: functools.reduce(
                self.budget.appended, (str(self.budget.look(text)) for text in texts)
            ),
        }
        # Joins what templates, macros and blocks make.
        self.concat = self.budget.joined  # type: ignore[method-assign]

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.budget.step()
            passed = 1 if hasattr(function, "jinja_pass_arg") else 0
            self.budget.look_at_all((*args[passed:], *kwargs.values()))
            if name == "join" and len(args) > passed:
                args = (*args[:passed], self._whole(args[passed]), *args[passed + 1 :])
            self._reserve_for(name, args[passed : passed + 1], args[passed + 1 :], kwargs)
            return self.budget.charge(function(*args, **kwargs))

        return counted

    def _looking(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args: function(*map(self.budget.look, args))

    def _whole(self, items: Any) -> Any:
        """Return what is to be joined as something that has a length."""
        return items if isinstance(items, str | list | tuple) else list(self.budget.each(items))

    def add_filter(self, name: str, function: Callable[..., Any]) -> None:
        """Add a filter that counts like Jinja's own."""
        self.filters[name] = self._counted(name, function)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return an attribute or item, as a step."""
        self.budget.step()
        found = super().getattr(obj, attribute)
        if attribute in ("format", "format_map") and isinstance(obj, str):
            return functools.partial(self._formatted, found, attribute, obj)
        return found

    def _formatted(self, function: Any, name: str, text: str, *args: Any, **kwargs: Any) -> Any:
        """Call a text's own function for formats, which the sandbox has made safe."""
        self._reserve_for(name, (text,), args, kwargs)
        return function(*args, **kwargs)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return an item or attribute, as a step; a slice is a new value."""
        self.budget.step()
        found = super().getitem(obj, argument)
        return self.budget.charge(found) if isinstance(argument, slice) else found

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function or macro, as a step."""
        self.budget.step()
        self.budget.look_at_all((*args, *kwargs.values()))
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str | bytes | int):
            name = getattr(obj, "__name__", "")
            args = (self._whole(args[0]), *args[1:]) if name == "join" and args else args
            self._reserve_for(name, (owner,), args, kwargs)
        return self.budget.charge(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Compute an operation whose result may be much larger than what it is given."""
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return self.budget.appended(left, right)
        self.budget.look_at_all((left, right))
        if operator == "*":
            self._reserve_product(left, right)
        elif operator == "**":
            if isinstance(left, int) and isinstance(right, int):
                self.budget.check_bits(left.bit_length() * abs(right))
        elif operator == "%" and isinstance(left, str):
            self._reserve_for("format", (left,), right if isinstance(right, tuple) else (right,), {})
        return self.budget.charge(super().call_binop(context, operator, left, right))

    def _reserve_product(self, left: Any, right: Any) -> None:
        if isinstance(left, int) and isinstance(right, int):
            self.budget.check_bits(left.bit_length() + right.bit_length())
            return
        for repeated, times in ((left, right), (right, left)):
            if isinstance(repeated, str | bytes | list | tuple) and isinstance(times, int):
                self.budget.reserve(len(repeated) * max(times, 0))

    def _reserve_for(self, name: str, texts: tuple[Any, ...], args: Any, kwargs: Mapping[str, Any]) -> None:
        """Reserve the characters of a function's result, as far as its arguments make it longer than its texts."""
        text = texts[0] if texts else ""
        given = [*args, *kwargs.values()]
        if name in _WIDENING:
            widths = [abs(item) for item in given if isinstance(item, int)]
            rows = _length(text) if name in _EACH_ROW else 1
            self.budget.reserve(rows * max([*widths, *map(_length, given)], default=0))
        elif name in ("format", "format_map") and isinstance(text, str):
            self.budget.reserve(_width_of(text, given))
        elif name == "replace" and isinstance(text, str) and len(given) > 1:
            self.budget.reserve(text.count(str(given[0])) * _length(given[1]))
        elif name == "translate" and given and isinstance(given[0], dict):
            self.budget.reserve(_length(text) * max(map(_length, given[0].values()), default=0))
        elif name == "join":
            # The filter is given the items first, the method of a text the separator.
            between, items = (text, given) if isinstance(text, str) and given else ("", [text, *given])
            longest = max(_length(between), *map(_length, items[1:]), 0)
            self.budget.reserve(_length(items[0]) * longest if items else 0)
        elif name in _SLOW:
            self.budget.reserve(_length(text) * _SLOWNESS)

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        self.budget.begin()
        return super()._generate(_Counting().visit(source), *args, **kwargs)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes | list | tuple | dict) else 0


def _width_of(text: str, given: list[Any]) -> int:
    """Return how many characters the widths of a format ask for."""
    written = sum(int(digits[:12]) for digits in _WIDE.findall(text))
    return written + (sum(abs(item) for item in given if isinstance(item, int)) if _NESTED.search(text) else 0)


class _Counting(NodeTransformer):
    """Leads loops, lists and joined texts of a template through the sandbox's own filters."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _filtered(node.iter, _EACH)
        return node

    def visit_List(self, node: nodes.List) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, _MADE) if node.items else node

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, _MADE) if node.items else node

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, _MADE) if node.items and node.ctx == "load" else node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = _seen(node.expr)
        for operand in node.ops:
            operand.expr = _seen(operand.expr)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(nodes.Tuple(node.nodes, "load", lineno=node.lineno), _JOINED)


def _seen(node: nodes.Expr) -> nodes.Expr:
    return node if isinstance(node, nodes.Const) else _filtered(node, _SEEN)


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(cast(nodes.Expr, node), name, [], [], None, None, lineno=node.lineno)
