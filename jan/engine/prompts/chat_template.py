"""Render messages and tools with a model's chat template."""

import secrets
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import msgspec

from jan.engine.base import ChatForms, ChatPrompt
from jan.engine.call_ids import CallIds
from jan.engine.prompts.abilities import TemplateAbilities, abilities_of
from jan.engine.prompts.dialects import (
    Dialect,
    ReasoningOption,
    ToolFormatOption,
    dialect_of,
    hinted_form,
    shown_form,
)
from jan.engine.prompts.environment import Clock, CompiledTemplate, unsupported
from jan.engine.prompts.normalise import normalise
from jan.engine.prompts.plain_messages import Entry, plain_messages, plain_text, text_of
from jan.engine.prompts.segments import MarkedPrompt, SpecialTokens
from jan.engine.prompts.template_options import check_options, fitted_options, ignored_options
from jan.engine.prompts.well_formed_tools import with_well_formed_tools
from jan.errors import InvalidRequest
from jan.schema.messages import AssistantMessage, FunctionMessage, Message, ToolMessage

# Plugins import these from here.
__all__ = ["ChatTemplate", "RenderedChat", "text_of"]

_NO_TEMPLATES = MappingProxyType[str, str]({})


class RenderedChat(msgspec.Struct, frozen=True):
    """A prompt, the dialect of its answer, and the paths of what the template never shows."""

    prompt: MarkedPrompt
    dialect: Dialect
    ignored: tuple[str, ...]

    @property
    def text(self) -> str:
        """Return the text of the prompt."""
        return self.prompt.plain


class ChatTemplate:
    """A model's chat template. ``dialect``: how the model writes tool calls and reasoning.

    Tools are passed to the template if it renders calls in the dialect's form. Otherwise they are written as text
    into the system message. ``shows_tools``: they are passed. ``call_ids``: the form of the ids of calls that the
    template takes.

    Usage::

        template = ChatTemplate(source, bos_token="<s>")
        chat = template.render_chat(prompt)
        chat.text, chat.dialect

    Args:
        source: the template in Jinja.
        bos_token, eos_token: the text of these tokens, for the template.
        tool_format, reasoning: settings that override what the template shows.
        named: more templates of the model. ``tool_use`` is taken for prompts with tools, ``rag`` for documents.
        special: the special tokens that texts of a request may not spell; None: they may spell all.
        clock: the time of the template's ``strftime_now``.

    Raises:
        ConfigurationError: if a source is not valid Jinja.
    """

    def __init__(
        self,
        source: str,
        bos_token: str = "",
        eos_token: str = "",
        *,
        tool_format: ToolFormatOption = "auto",
        reasoning: ReasoningOption = "auto",
        named: Mapping[str, str] = _NO_TEMPLATES,
        special: SpecialTokens | None = None,
        clock: Clock = datetime.now,
    ) -> None:
        tokens = {"bos_token": bos_token, "eos_token": eos_token}
        special = special or SpecialTokens(())
        self._default = _Rendering(source, tokens, clock, special)
        self._named = {
            name: _Rendering(named[name], tokens, clock, special) for name in ("tool_use", "rag") if name in named
        }
        with_tools = self._named.get("tool_use", self._default)
        self.dialect = dialect_of(
            named.get("tool_use", source), tool_format, reasoning, with_tools.abilities.shown_call
        )
        self.call_ids: CallIds = with_tools.abilities.call_ids
        self.shows_tools = with_tools.shows_tools_in(self.dialect)

    @property
    def source(self) -> str:
        """The template in Jinja that is taken without tools and documents."""
        return self._default.source

    @property
    def forms(self) -> ChatForms:
        """How chats are written."""
        return ChatForms(
            dialect=self.dialect.tools,
            tools="native" if self.shows_tools else "instructions",
            reasoning=self.dialect.reasoning,
        )

    def render_chat(self, prompt: ChatPrompt) -> RenderedChat:
        """Return the prompt's text, and how it is answered.

        Raises InvalidRequest if the template refuses the messages, or lacks a variable that the request sets.
        """
        rendered, ignored = self._rendering_of(prompt).render(prompt, self.dialect)
        return RenderedChat(rendered, self.answer_dialect(prompt, rendered.plain), ignored)

    def render(self, prompt: ChatPrompt) -> str:
        """Return only the text of ``render_chat``."""
        return self.render_chat(prompt).text

    def answer_dialect(self, prompt: ChatPrompt, text: str) -> Dialect:
        """Return the dialect of the answer to a prompt that was rendered as ``text``."""
        if not prompt.continue_final_message:
            return self.dialect.after_prompt(text)
        return self.dialect.continuing(plain_text(plain_messages(prompt.messages[-1:])[0]["content"]))

    def _rendering_of(self, prompt: ChatPrompt) -> "_Rendering":
        if prompt.documents and "rag" in self._named:
            return self._named["rag"]
        if "tool_use" in self._named and (prompt.tools or any(map(_is_of_tools, prompt.messages))):
            return self._named["tool_use"]
        return self._default


def _is_of_tools(message: Message) -> bool:
    if isinstance(message, AssistantMessage):
        return bool(message.tool_calls) or message.function_call is not None
    return isinstance(message, ToolMessage | FunctionMessage)


class _Rendering:
    """One of a model's templates, and what it can render."""

    def __init__(self, source: str, tokens: dict[str, str], clock: Clock, special: SpecialTokens) -> None:
        self.source = source
        self._template = CompiledTemplate(source, clock)
        self._tokens = tokens
        self._special = special
        self.abilities: TemplateAbilities = abilities_of(self._template, tokens)
        self._shown_form = shown_form(self.abilities.shown_call)

    def shows_tools_in(self, dialect: Dialect) -> bool:
        """Return True if the template shows tools, and calls in this form or at least how they are written."""
        if not self.abilities.calls:
            tells = bool(dialect.calls.mark) and dialect.calls.mark in self.source
            return self.abilities.tools and (tells or hinted_form(self.source) == dialect.tools)
        return self.abilities.tools and self._shown_form == dialect.tools

    def render(self, prompt: ChatPrompt, dialect: Dialect) -> tuple[MarkedPrompt, tuple[str, ...]]:
        """Return the prompt, and the paths of what it does not show.

        Tools are shown as they were sent, if the template takes them so.
        """
        try:
            return self._rendered(prompt, dialect)
        except InvalidRequest:
            well_formed = with_well_formed_tools(prompt)
            if well_formed is None:
                raise
        return self._rendered(well_formed, dialect)

    def _rendered(self, prompt: ChatPrompt, dialect: Dialect) -> tuple[MarkedPrompt, tuple[str, ...]]:
        check_options(prompt, self._template.variables)
        native = self.shows_tools_in(dialect)
        fitted = normalise(prompt, self.abilities, dialect.calls, native=native, special=self._special)
        marks = fitted.marks
        variables = {
            **marks.mark(fitted_options(prompt.template_options, self._template.variables)),
            **self._tokens,
            "tools": fitted.tools,
            "documents": None if prompt.documents is None else marks.mark(list(prompt.documents)),
            "messages": fitted.messages,
        }
        ignored = (*ignored_options(prompt, self._template.variables), *fitted.ignored)
        if not prompt.continue_final_message:
            variables["add_generation_prompt"] = prompt.add_generation_prompt
            return marks.prompt(self._template.render(variables)), ignored
        # A marker that nobody can guess. Where it is rendered, the message ends and its closing tokens begin.
        end = secrets.token_hex(16)
        variables["messages"] = [*fitted.messages[:-1], _with_end(fitted.messages[-1], end)]
        text, found, _ = self._template.render({**variables, "add_generation_prompt": False}).rpartition(end)
        if not found:
            raise unsupported("it does not show the last message, which is to be continued")
        return marks.prompt(text), ignored


def _with_end(entry: Entry, end: str) -> Entry:
    """Return a message whose text ends with a marker."""
    content: Any = entry["content"]
    if isinstance(content, str):
        return {**entry, "content": content + end}
    *parts, last = content
    return {**entry, "content": [*parts, {**last, "text": last["text"] + end}]}
