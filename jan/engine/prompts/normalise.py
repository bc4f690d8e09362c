"""The one place that fits messages to a chat template: roles and their order, calls, ids, the form of contents.

What the template shows as it was sent stays as it was sent. ``TemplateAbilities`` has the rules of a template.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import chain, groupby, islice, takewhile
from operator import itemgetter
from typing import Any

import msgspec

from jan.engine.generation_request import ChatPrompt
from jan.engine.prompts.abilities import TemplateAbilities
from jan.engine.prompts.dialects import CallForm
from jan.engine.prompts.history_calls import with_fitting_calls
from jan.engine.prompts.plain_messages import Entry, plain_messages, plain_text, plain_tools
from jan.engine.prompts.segments import Marks, SpecialTokens
from jan.engine.prompts.spelled_tools import instructions_for, spelled_messages
from jan.schema.messages import FunctionMessage, ToolMessage

_INSTRUCTING = ("system", "developer")


class FittedChat(msgspec.Struct, frozen=True):
    """Messages and tools as a template takes them, and what it has no use for.

    ``tools``: None if there are none, or if they are spelled out in the messages. ``ignored``: their paths.
    ``marks``: the marks that messages and tools have, and that other texts of the request need.
    """

    messages: list[Entry]
    tools: list[Entry] | None
    ignored: tuple[str, ...]
    marks: Marks


def normalise(
    prompt: ChatPrompt, abilities: TemplateAbilities, form: CallForm, *, native: bool, special: SpecialTokens
) -> FittedChat:
    """Return the conversation of a prompt.

    Args:
        form: how calls are written where the template shows none.
        native: the template shows calls in the form that is read in answers.
        special: the special tokens that texts of the request may not spell.

    Raises:
        InvalidRequest: for content that is not text.
    """
    entries, tools = plain_messages(prompt.messages), plain_tools(prompt)
    ignored = tuple(hidden_members(prompt, abilities))
    calls = native and abilities.calls
    entries = with_fitting_calls(
        entries,
        abilities.call_ids,
        as_text=calls and abilities.arguments_as_text,
        result_names=abilities.result_names,
    )
    # Before any text that is not the request's comes in, and after its JSON was read.
    marks = special.marks_for(entries, tools, list(prompt.documents or ()), prompt.template_options)
    entries, tools = _marked(entries, marks), _marked(tools, marks)
    if not calls:
        entries = spelled_messages(entries, form)
    elif not abilities.results_alone:
        entries = list(_without_lone_results(entries, form))
    if tools and not (native and abilities.tools):
        entries, tools = _instructed(entries, instructions_for(tools, form)), []
    if not abilities.undescribed_tools:
        tools = [{**tool, "function": {"description": "", **tool["function"]}} for tool in tools]
    entries = _with_fitting_systems(entries, abilities)
    entries = list(_with_fitting_turns(entries, abilities))
    entries = [_with_fitting_content(entry, abilities) for entry in entries]
    return FittedChat(entries, tools or None, ignored, marks)


def _marked(entries: Sequence[Entry], marks: Marks) -> list[Entry]:
    """Return messages, calls or tools with marks in what the request wrote.

    Roles and types are words of the API. Templates make control tokens of roles.
    """
    return [{name: _marked_member(name, value, marks) for name, value in entry.items()} for entry in entries]


def _marked_member(name: str, value: Any, marks: Marks) -> Any:
    if name in ("role", "type"):
        return value
    if name in ("content", "tool_calls") and isinstance(value, list):
        return _marked(value, marks)
    return marks.mark(value)


def hidden_members(prompt: ChatPrompt, abilities: TemplateAbilities) -> Iterable[str]:
    """Yield the paths in the request of members that a template never shows. A tool is known by the id of its
    call."""
    hidden = [] if abilities.names else ["name"]
    hidden += [] if abilities.reasoning else ["reasoning_content", "reasoning"]
    for index, message in enumerate(prompt.messages[prompt.stored_messages :]):
        if not isinstance(message, ToolMessage | FunctionMessage):
            yield from (f"messages[{index}].{name}" for name in hidden if getattr(message, name, None) is not None)


def _without_lone_results(entries: Sequence[Entry], form: CallForm) -> Iterable[Entry]:
    """Move results behind their calls, and turn those whose calls a client left out into messages of the user."""
    turns: list[list[Entry]] = []
    of_call: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry["role"] == "tool" and entry["tool_call_id"] in of_call:
            of_call[entry["tool_call_id"]].append(entry)
            continue
        turns.append(spelled_messages([entry], form) if entry["role"] == "tool" else [entry])
        of_call |= {call["id"]: turns[-1] for call in entry.get("tool_calls", ())}
    return chain.from_iterable(turns)


def _instructed(entries: list[Entry], instructions: str) -> list[Entry]:
    """Add instructions to the first system message, or a system message of them."""
    system = {"role": "system", "content": instructions}
    if entries and entries[0]["role"] in _INSTRUCTING:
        return [_joined(entries[0], system), *entries[1:]]
    return [system, *entries]


# --- roles and their order ------------------------------------------------------------------------------


def _with_fitting_systems(entries: list[Entry], abilities: TemplateAbilities) -> list[Entry]:
    """Return messages with instructions only where the template shows them; elsewhere the user says them."""
    if not abilities.developer:
        entries = [{**entry, "role": "system"} if entry["role"] == "developer" else entry for entry in entries]
    first = next((at for at, entry in enumerate(entries) if entry["role"] not in _INSTRUCTING), len(entries))
    leading, rest = entries[:first], entries[first:]
    if not abilities.several_systems and leading:
        leading = [_joined(*leading)]
    if not abilities.late_system:
        rest = list(_said_by_user(rest))
    shown = abilities.system if rest else abilities.system_alone
    return [*leading, *rest] if shown else list(_said_by_user([*leading, *rest]))


def _said_by_user(entries: Iterable[Entry]) -> Iterable[Entry]:
    """Turn instructions into a part of the user's next message, or into a message of the user's own."""
    held: list[Entry] = []
    for entry in entries:
        if entry["role"] in _INSTRUCTING:
            held.append({"role": "user", "content": entry["content"]})
            continue
        if held and entry["role"] != "user":
            yield _joined(*held)
            held = []
        yield _joined(*held, entry)
        held = []
    if held:
        yield _joined(*held)


def _with_fitting_turns(entries: Iterable[Entry], abilities: TemplateAbilities) -> Iterable[Entry]:
    """Return messages in an order of roles that the template takes."""
    if not abilities.parallel_calls:
        entries = _one_call_each(list(entries))
    before: Entry | None = None
    for entry in _without_neighbours(entries, abilities):
        role = entry["role"]
        begins = before is None or before["role"] in _INSTRUCTING
        if role == "assistant" and begins and not abilities.assistant_first:
            yield {"role": "user", "content": ""}
        elif role == "user" and _is_of_tools(before) and not abilities.user_after_tool:
            yield {"role": "assistant", "content": ""}
        yield entry
        before = entry


def _without_neighbours(entries: Iterable[Entry], abilities: TemplateAbilities) -> Iterable[Entry]:
    """Join neighbouring messages of one role where the template takes only one."""
    for role, neighbours in groupby(entries, key=itemgetter("role")):
        if _may_stand_together(role, abilities):
            yield from neighbours
        else:
            yield _joined(*neighbours)


def _is_of_tools(entry: Entry | None) -> bool:
    return entry is not None and (entry["role"] == "tool" or "tool_calls" in entry)


def _may_stand_together(role: str, abilities: TemplateAbilities) -> bool:
    if role == "user":
        return abilities.user_neighbours
    return role != "assistant" or abilities.assistant_neighbours


def _one_call_each(entries: list[Entry]) -> Iterable[Entry]:
    """Split messages of several calls into one for each, followed by its result."""
    at = 0
    while at < len(entries):
        entry, at = entries[at], at + 1
        if len(entry.get("tool_calls", ())) < 2:
            yield entry
            continue
        results = list(takewhile(lambda one: one["role"] == "tool", islice(entries, at, None)))
        yield from _each_with_result(entry, results)
        at += len(results)


def _each_with_result(entry: Entry, results: list[Entry]) -> Iterable[Entry]:
    """Yield a message for each call of one, with its result, and then the results that are left."""
    waiting: dict[str, deque[Entry]] = {}
    for result in results:
        waiting.setdefault(result["tool_call_id"], deque()).append(result)
    for number, call in enumerate(entry["tool_calls"]):
        yield {**entry, "tool_calls": [call], **({"content": ""} if number else {})}
        if own := waiting.get(call["id"]):
            yield own.popleft()
    yield from chain.from_iterable(waiting.values())


# --- contents -------------------------------------------------------------------------------------------


def _joined(*entries: Entry) -> Entry:
    """Return one message with the contents and calls of all, and the other members of the last one."""
    if len(entries) == 1:
        return entries[0]
    texts = filter(None, (plain_text(entry["content"]) for entry in entries))
    joined = {name: value for entry in entries for name, value in entry.items()}
    joined |= {"role": entries[0]["role"], "content": "\n\n".join(texts)}
    calls = [call for entry in entries for call in entry.get("tool_calls", ())]
    return {**joined, "tool_calls": calls} if calls else joined


def _with_fitting_content(entry: Entry, abilities: TemplateAbilities) -> Entry:
    content: Any = entry["content"]
    if abilities.null_content and "tool_calls" in entry and not content:
        content = None
    elif not abilities.text:
        content = [{"type": "text", "text": content}] if isinstance(content, str) else content
    elif not abilities.parts or entry["role"] == "tool":
        content = plain_text(content)
    return {**entry, "content": content}
