"""Finds out at load what a chat template can render, by rendering small conversations.

A template says nothing about its rules. So each ability is tried, by what a template shows of words that stand
nowhere else. llama.cpp (minja's ``chat_template_caps``) finds out in the same way.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from jan.engine.call_ids import CallIds
from jan.engine.prompts.dialects import ShownCall
from jan.engine.prompts.environment import CompiledTemplate
from jan.engine.prompts.plain_messages import REASONING_NAMES, Entry
from jan.errors import InvalidRequest

_REASONING = frozenset(REASONING_NAMES)
_OLD_ID, _NINE_ID = "call_0123456789abcdef01234567", "abcde1234"
_KEY, _VALUE, _NAME, _LISTED = "keyqv", "valueqv", "nameqv", "listedqv"


class TemplateAbilities(msgspec.Struct, frozen=True, kw_only=True):
    """The messages that a template shows without a refusal.

    ``system``: a system message. ``several_systems``: several at the beginning. ``late_system``: one after others.
    ``developer``: a role of its own. ``user_neighbours``, ``assistant_neighbours``: two such messages in a row.
    ``assistant_first``: a conversation that the assistant begins. ``user_after_tool``: no answer to a result.
    ``text``, ``parts``: content as a string, and as a list of parts. ``names``: the ``name`` of a message.
    ``reasoning``: the reasoning of earlier answers. ``tools``: definitions of tools. ``calls``: calls and results.
    ``undescribed_tools``: a tool without a description.
    ``parallel_calls``: several calls in a message. ``arguments_as_text``: it wants a call's arguments as JSON.
    ``null_content``: it wants null as the content of a message with calls and nothing else.
    ``call_ids``: the form of a call's id. ``shown_call``: how it renders a call; None if it does not.
    """

    system: bool = True
    several_systems: bool = True
    late_system: bool = True
    developer: bool = False
    user_neighbours: bool = True
    assistant_neighbours: bool = True
    assistant_first: bool = True
    user_after_tool: bool = True
    text: bool = True
    parts: bool = False
    names: bool = False
    reasoning: bool = False
    tools: bool = False
    calls: bool = False
    undescribed_tools: bool = True
    parallel_calls: bool = True
    arguments_as_text: bool = False
    null_content: bool = False
    call_ids: CallIds = "call"
    shown_call: ShownCall | None = None


def abilities_of(template: CompiledTemplate, tokens: Mapping[str, str]) -> TemplateAbilities:
    """Try what a template can render. ``tokens``: its special tokens by name."""
    trial = _Trial(template, tokens)
    if not trial.shows(_user()):
        return _unknown(trial)
    system = trial.shows(_say("system"), _user())
    found = TemplateAbilities(
        system=system,
        several_systems=system and trial.shows(_say("system"), _say("system", 2), _user()),
        late_system=system and trial.shows(_user(), _say("assistant"), _say("system", 2), _user(3)),
        developer="developer" in template.words
        and trial.shows(_say("system"), _say("developer", 2), _user())
        and trial.shows(_say("developer"), _user()),
        parts=trial.shows(_user(), _say("assistant"), _user(2), as_parts=True),
        names="name" in template.words and trial.shows({**_user(), "name": _NAME}, also=(_NAME,)),
        reasoning=not _REASONING.isdisjoint(template.words),
    )
    found = _with_turns(trial, found)
    return _with_tools(trial, found) if "tools" in template.variables else found


def _unknown(trial: "_Trial") -> TemplateAbilities:
    """Return the abilities of a template that does not show a plain question: at best it wants parts."""
    if trial.shows(_user(), as_parts=True):
        found = abilities_of(_OfParts(trial.template), trial.tokens)
        return msgspec.structs.replace(found, text=False, parts=True)
    takes_tools = "tools" in trial.template.variables
    return TemplateAbilities(tools=takes_tools, calls=takes_tools)


def _with_turns(trial: "_Trial", found: TemplateAbilities) -> TemplateAbilities:
    """Add whose messages may follow whose. What a plain exchange does not show tells nothing."""
    if not trial.shows(_user(), _say("assistant"), _user(2)):
        return found
    return msgspec.structs.replace(
        found,
        user_neighbours=trial.shows(_user(), _user(2)),
        assistant_neighbours=trial.shows(_user(), _say("assistant"), _say("assistant", 2), _user(3)),
        assistant_first=trial.shows(_say("assistant"), _user()),
    )


def _with_tools(trial: "_Trial", found: TemplateAbilities) -> TemplateAbilities:
    """Add whether the template shows tools, and in which form it takes calls and their results."""
    if not trial.shows(_user(), also=(_LISTED,), tools=_TOOLS):
        return found
    undescribed = trial.shows(_user(), also=(_LISTED,), tools=_UNDESCRIBED)
    found = msgspec.structs.replace(found, tools=True, undescribed_tools=undescribed)
    ids: CallIds
    for ids in ("call", "nine"):
        for null in (False, True):
            for as_text in (False, True):
                call = _Call(_OLD_ID if ids == "call" else _NINE_ID, null, as_text)
                text = trial.render([_user(), call.message(), call.result(2)], _TOOLS)
                if text is not None and _shows_call(text):
                    prompt = trial.render([_user()], _TOOLS) or ""
                    form = msgspec.structs.replace(
                        found,
                        calls=True,
                        call_ids=ids,
                        null_content=null,
                        arguments_as_text=as_text,
                        shown_call=ShownCall(text, prompt, _NAME, {_KEY: _VALUE}, call.id),
                    )
                    return _with_sequences(trial, form, call, text)
    return found


def _shows_call(text: str) -> bool:
    """Return True if a text shows a call's arguments as JSON or in the template's own form, and its result."""
    written = f'\\"{_KEY}' not in text and f"'{_KEY}'" not in text
    return written and _KEY in text and _VALUE in text and _word("tool", 2) in text


def _with_sequences(trial: "_Trial", form: TemplateAbilities, call: "_Call", text: str) -> TemplateAbilities:
    other = _Call("b" + call.id[1:], call.null, call.as_text)
    both = {**call.message(), "tool_calls": [*call.message()["tool_calls"], *other.message()["tool_calls"]]}
    singly = [_user(), call.message(), call.result(2), other.message(), other.result(3)]
    parallel = trial.shows(_user(), both, call.result(2), other.result(3), tools=_TOOLS)
    after = [_user(), call.message(), call.result(2), _user(3)]
    answered = [*after[:3], _say("assistant", 4), after[3]]
    return msgspec.structs.replace(
        form,
        parallel_calls=parallel or not trial.shows(*singly, tools=_TOOLS),
        user_after_tool=trial.shows(*after, tools=_TOOLS) or not trial.shows(*answered, tools=_TOOLS),
        call_ids="named" if _NAME not in text and call.id in text else form.call_ids,
    )


_TOOLS: tuple[Entry, ...] = (
    {
        "type": "function",
        "function": {
            "name": _LISTED,
            "description": "Look.",
            "parameters": {
                "type": "object",
                "properties": {"place": {"type": "string", "description": "Where."}},
                "required": ["place"],
            },
        },
    },
)


_UNDESCRIBED = tuple(
    {**tool, "function": {name: value for name, value in tool["function"].items() if name != "description"}}
    for tool in _TOOLS
)


class _Call(msgspec.Struct, frozen=True):
    """A call, in the form that is tried."""

    id: str
    null: bool
    as_text: bool

    def message(self) -> Entry:
        """Return the assistant's message with the call."""
        arguments = f'{{"{_KEY}": "{_VALUE}"}}' if self.as_text else {_KEY: _VALUE}
        function = {"name": _NAME, "arguments": arguments}
        calls = [{"id": self.id, "type": "function", "function": function}]
        return {"role": "assistant", "content": None if self.null else "", "tool_calls": calls}

    def result(self, number: int) -> Entry:
        """Return the message with the result."""
        return {**_say("tool", number), "tool_call_id": self.id}


def _word(role: str, number: int = 1) -> str:
    return f"{role}qv{number}w"


def _say(role: str, number: int = 1) -> Entry:
    return {"role": role, "content": _word(role, number)}


def _user(number: int = 1) -> Entry:
    return _say("user", number)


def _parts(message: Entry) -> Entry:
    """Return a message whose content is two parts."""
    content = message["content"]
    return {**message, "content": [{"type": "text", "text": content}, {"type": "text", "text": f"{content}x"}]}


class _Trial:
    """Renders conversations, to see what a template shows of them."""

    def __init__(self, template: CompiledTemplate, tokens: Mapping[str, str]) -> None:
        self.template = template
        self.tokens = tokens

    def render(self, messages: Sequence[Entry], tools: Sequence[Entry] = ()) -> str | None:
        """Return the text, None if the template refuses."""
        variables = {"messages": messages, "tools": list(tools) or None, "documents": None}
        try:
            return self.template.render({**variables, "add_generation_prompt": True, **self.tokens})
        except InvalidRequest:
            return None

    def shows(
        self, *messages: Entry, also: Sequence[str] = (), tools: Sequence[Entry] = (), as_parts: bool = False
    ) -> bool:
        """Return True if the text has the content of all messages, and the words of ``also``."""
        given = [_parts(message) for message in messages] if as_parts else list(messages)
        text = self.render(given, tools)
        if text is None or (as_parts and ("'text'" in text or '"text"' in text)):
            return False
        words = [message["content"] for message in messages if message["content"]]
        words += [f"{word}x" for word in words] if as_parts else []
        return all(word in text for word in (*words, *also))


class _OfParts(CompiledTemplate):
    """A template that takes content as parts only, given strings."""

    def __init__(self, template: CompiledTemplate) -> None:
        self.variables, self.words = template.variables, template.words
        self._given = template

    def render(self, variables: Mapping[str, Any]) -> str:
        """Render with every string of a message's content as a part."""
        messages = [
            {**message, "content": [{"type": "text", "text": message["content"]}]}
            if isinstance(message["content"], str)
            else message
            for message in variables["messages"]
        ]
        return self._given.render({**variables, "messages": messages})
