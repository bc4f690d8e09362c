"""Finds out at load what a chat template can render, by rendering small conversations.

A template says nothing about its rules. So each ability is tried, by what a template shows of words that stand
nowhere else. llama.cpp (minja's ``chat_template_caps``) finds out in the same way.
"""

from collections.abc import Iterator, Mapping
from itertools import product

import msgspec

from jan.engine.call_ids import CallIds
from jan.engine.prompts.dialects import ShownCall
from jan.engine.prompts.environment import CompiledTemplate
from jan.engine.prompts.plain_messages import REASONING_NAMES
from jan.engine.prompts.template_trial import (
    KEY,
    LISTED,
    LONG_ID,
    NAME,
    NINE_ID,
    RESULT_NAME,
    SHORT_ID,
    TOOLS,
    UNDESCRIBED,
    VALUE,
    TemplateOfParts,
    Trial,
    TriedCall,
    asked,
    say,
    word_of,
)

_REASONING = frozenset(REASONING_NAMES)


class TemplateAbilities(msgspec.Struct, frozen=True, kw_only=True):
    """The messages that a template shows without a refusal.

    ``system``: a system message. ``system_alone``: one without any other message.
    ``several_systems``: several at the beginning. ``late_system``: one after others.
    ``developer``: a role of its own. ``user_neighbours``, ``assistant_neighbours``: two such messages in a row.
    ``assistant_first``: a conversation that the assistant begins. ``user_after_tool``: no answer to a result.
    ``text``, ``parts``: content as a string, and as a list of parts. ``names``: the ``name`` of a message.
    ``reasoning``: the reasoning of earlier answers. ``tools``: definitions of tools. ``calls``: calls and results.
    ``undescribed_tools``: a tool without a description. ``result_names``: the function's name of a result.
    ``results_alone``: a result without its call.
    ``parallel_calls``: several calls in a message. ``arguments_as_text``: it wants a call's arguments as JSON.
    ``null_content``: it wants null as the content of a message with calls and nothing else.
    ``call_ids``: the form of a call's id. ``shown_call``: how it renders a call; None if it does not.
    """

    system: bool = True
    system_alone: bool = True
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
    result_names: bool = False
    results_alone: bool = True
    parallel_calls: bool = True
    arguments_as_text: bool = False
    null_content: bool = False
    call_ids: CallIds = "call"
    shown_call: ShownCall | None = None


def abilities_of(template: CompiledTemplate, tokens: Mapping[str, str]) -> TemplateAbilities:
    """Try what a template can render. ``tokens``: its special tokens by name."""
    trial = Trial(template, tokens)
    if not trial.shows(asked()):
        return _unknown(trial)
    system = trial.shows(say("system"), asked())
    found = TemplateAbilities(
        system=system,
        system_alone=trial.shows(say("system")),
        several_systems=system and trial.shows(say("system"), say("system", 2), asked()),
        late_system=system and trial.shows(asked(), say("assistant"), say("system", 2), asked(3)),
        developer="developer" in template.words
        and trial.shows(say("system"), say("developer", 2), asked())
        and trial.shows(say("developer"), asked()),
        parts=trial.shows(asked(), say("assistant"), asked(2), as_parts=True),
        names="name" in template.words and trial.shows({**asked(), "name": NAME}, also=(NAME,)),
        reasoning=not _REASONING.isdisjoint(template.words),
    )
    found = _with_turns(trial, found)
    return _with_tools(trial, found) if "tools" in template.variables else found


def _unknown(trial: Trial) -> TemplateAbilities:
    """Return the abilities of a template that does not show a plain question: at best it wants parts."""
    if trial.shows(asked(), as_parts=True):
        found = abilities_of(TemplateOfParts(trial.template), trial.tokens)
        return msgspec.structs.replace(found, text=False, parts=True)
    if trial.shows(asked(), also=(LISTED,), tools=TOOLS):
        return _with_tools(trial, TemplateAbilities())  # it is for prompts with tools alone
    takes_tools = "tools" in trial.template.variables
    return TemplateAbilities(tools=takes_tools, calls=takes_tools)


def _with_turns(trial: Trial, found: TemplateAbilities) -> TemplateAbilities:
    """Add whose messages may follow whose. What a plain exchange does not show tells nothing."""
    if not trial.shows(asked(), say("assistant"), asked(2)):
        return found
    return msgspec.structs.replace(
        found,
        user_neighbours=trial.shows(asked(), asked(2)),
        assistant_neighbours=trial.shows(asked(), say("assistant"), say("assistant", 2), asked(3)),
        assistant_first=trial.shows(say("assistant"), asked()),
    )


def _with_tools(trial: Trial, found: TemplateAbilities) -> TemplateAbilities:
    """Add whether the template shows tools, and in which form it takes calls and their results."""
    if not trial.shows(asked(), also=(LISTED,), tools=TOOLS):
        return found
    undescribed = trial.shows(asked(), also=(LISTED,), tools=UNDESCRIBED)
    alone = found.system_alone and trial.shows(say("system"), also=(LISTED,), tools=TOOLS)
    found = msgspec.structs.replace(found, tools=True, undescribed_tools=undescribed, system_alone=alone)
    for call in _forms():
        text = trial.render([asked(), call.message(), call.result(2)], TOOLS)
        if text is not None and _shows_call(text):
            return _with_sequences(trial, _with_form(trial, found, call, text), call)
    return found


def _forms() -> Iterator[TriedCall]:
    """Yield the forms in which templates take a call and its result, the usual one first."""
    for named, call_id, null, as_text in product((False, True), (LONG_ID, NINE_ID), (False, True), (False, True)):
        yield TriedCall(id=call_id, null=null, as_text=as_text, named=named)


def _with_form(trial: Trial, found: TemplateAbilities, call: TriedCall, text: str) -> TemplateAbilities:
    """Add the form of a call that the template shows as ``text``."""
    ids: CallIds = "call"
    if NAME not in text and call.id in text:
        ids = "named"
    else:
        short = msgspec.structs.replace(call, id=SHORT_ID)
        if trial.render([asked(), short.message(), short.result(2)], TOOLS) is None:
            ids = "nine"
    named = {**call.result(2), "name": RESULT_NAME}
    shown = trial.render([asked(), call.message(), named], TOOLS) or ""
    return msgspec.structs.replace(
        found,
        calls=True,
        call_ids=ids,
        null_content=call.null,
        arguments_as_text=call.as_text,
        result_names=call.named or RESULT_NAME in shown,
        results_alone=trial.shows(asked(), call.result(2), tools=TOOLS)
        and trial.shows(asked(), say("assistant"), call.result(2), say("assistant", 3), asked(4), tools=TOOLS),
        shown_call=ShownCall(text, trial.render([asked()], TOOLS) or "", NAME, {KEY: VALUE}, call.id),
    )


def _shows_call(text: str) -> bool:
    """Return True if a text shows a call's arguments as JSON or in the template's own form, and its result."""
    written = f'\\"{KEY}' not in text and f"'{KEY}'" not in text
    return written and KEY in text and VALUE in text and word_of("tool", 2) in text


def _with_sequences(trial: Trial, form: TemplateAbilities, call: TriedCall) -> TemplateAbilities:
    """Add how many calls a message may have, and what may follow a result."""
    other = msgspec.structs.replace(call, id="b" + call.id[1:])
    both = {**call.message(), "tool_calls": [*call.message()["tool_calls"], *other.message()["tool_calls"]]}
    singly = [asked(), call.message(), call.result(2), other.message(), other.result(3)]
    parallel = trial.shows(asked(), both, call.result(2), other.result(3), tools=TOOLS)
    after = [asked(), call.message(), call.result(2), asked(3)]
    answered = [*after[:3], say("assistant", 4), after[3]]
    return msgspec.structs.replace(
        form,
        parallel_calls=parallel or not trial.shows(*singly, tools=TOOLS),
        user_after_tool=trial.shows(*after, tools=TOOLS) or not trial.shows(*answered, tools=TOOLS),
    )
