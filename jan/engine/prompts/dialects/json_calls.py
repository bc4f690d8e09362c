"""Forms of tool calls whose arguments are JSON."""

from collections.abc import Mapping
from types import MappingProxyType

from jan.engine.prompts.dialects.forms import INDEX, NINE, CallForm

_OBJECT = "(?=~{~)"
_LISTED = f"(?:~[~ )?{_OBJECT}"
_NEXT = f" {_OBJECT}"
_NAMED = '{"name": "'
_ARGUMENTS = '", "arguments": '


def _tagged(tag: str) -> CallForm:
    """Return the form of one object for each call, between tags."""
    return CallForm(
        before_name=f"<{tag}>\n{_NAMED}",
        after_name=_ARGUMENTS,
        end=f"}}\n</{tag}>",
        between="\n",
        marks=(f"<{tag}>",),
        head=f"~<{tag}>~ {_LISTED}",
        next_head=_NEXT,
        separators=",",
        closers=("]", f"</{tag}>"),
    )


def _list_after(
    mark: str, closing: str = "", *, others: tuple[str, ...] = (), hints: tuple[str, ...] = ()
) -> CallForm:
    """Return the form of a list of calls after a mark. ``others``: marks that are read as this one."""
    marks = (mark, *others)
    return CallForm(
        opening=f"{mark}[",
        before_name=_NAMED,
        after_name=_ARGUMENTS,
        end="}",
        between=", ",
        closing=f"]{closing}",
        marks=marks,
        head=f"(?:{'|'.join(f'~{each}~' for each in marks)}) {_LISTED}",
        next_head=_NEXT,
        separators=",",
        closers=("]", closing) if closing else ("]",),
        hints=hints,
    )


def _mistral(opening: str, before_name: str, after_name: str, end: str, between: str, closing: str) -> CallForm:
    """Return one of Mistral's forms. Both are read, whichever the template shows."""
    named = f"NAME(?:~[CALL_ID]~[A-Za-z0-9_-]*)?(?:~[ARGS]~)? {_OBJECT}"
    return CallForm(
        opening=opening,
        before_name=before_name,
        after_name=after_name,
        end=end,
        between=between,
        closing=closing,
        ids="nine",
        marks=("[TOOL_CALLS]",),
        head=f"~[TOOL_CALLS]~ (?:{_LISTED}|{named})",
        next_head=_NEXT,
        separators=",",
        closers=("]",),
    )


_CALLS, _CALLS_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_CALL, _CALL_END, _SEPARATOR = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"


def _deepseek(
    before_name: str, after_name: str, end: str, between: str, *, head: str, hints: tuple[str, ...]
) -> CallForm:
    """Return one of DeepSeek's forms. ``head``: what is read between the beginning of a call and its arguments."""
    return CallForm(
        opening=_CALLS,
        before_name=before_name,
        after_name=after_name,
        end=end,
        between=between,
        closing=_CALLS_END,
        marks=(_CALLS, _CALL),
        head=f"(?:~{_CALLS}~ )?~{_CALL}~ {head} {_OBJECT}",
        closers=("```", _CALL_END, _CALLS_END),
        hints=(_CALLS, *hints),
    )


JSON_CALLS: Mapping[str, CallForm] = MappingProxyType(
    {
        # Nous Research's Hermes; Qwen 2.5 and 3, Granite 4, EXAONE 4, Falcon H1, SmolLM 3.
        "hermes": _tagged("tool_call"),
        # LongCat.
        "longcat": _tagged("longcat_tool_call"),
        # InternLM 2 and 3.
        "internlm": CallForm(
            before_name=f"<|action_start|><|plugin|>\n{_NAMED}",
            after_name='", "parameters": ',
            end="}<|action_end|>",
            several=False,
            marks=("<|action_start|><|plugin|>",),
            head=f"~<|action_start|><|plugin|>~ {_LISTED}",
            closers=("<|action_end|>",),
            hints=("<|action_start|><|plugin|>",),
        ),
        # Mistral up to Nemo and Small 3.1.
        "mistral": _mistral("[TOOL_CALLS][", _NAMED, _ARGUMENTS, "}", ", ", "]"),
        # Mistral Small 3.2.
        "mistral_ids": _mistral("", "[TOOL_CALLS]", f"[CALL_ID]{NINE}[ARGS]", "", "", ""),
        # Devstral, Magistral, Mistral Large 3, Ministral 3.
        "mistral_args": _mistral("", "[TOOL_CALLS]", "[ARGS]", "", "", ""),
        # Llama 3.1 and later, and Llama 4 in its own template. Their templates take one call in a message.
        "llama3": CallForm(
            before_name=_NAMED,
            after_name='", "parameters": ',
            end="}",
            between="; ",
            several=False,
            marks=("<|python_tag|>",),
            head=f"~<|python_tag|>~ {_LISTED}",
            bare_head=_NEXT,
            next_head=_NEXT,
            separators=";,",
            closers=("]",),
        ),
        # gpt-oss (OpenAI's harmony), each call as ``answers.channels`` hands it on.
        "harmony": CallForm(
            before_name="<|channel|>commentary to=functions.",
            after_name=" <|constrain|>json<|message|>",
            several=False,
            reasoning="harmony",
            marks=("<|channel|>commentary to=functions.",),
            head=f"~<|channel|>commentary to=functions.~NAME (?:~<|constrain|>json~)?~<|message|>~ {_OBJECT}",
            closers=("<|call|>",),
            shown_head="~ to=functions.~NAME~<|channel|>commentary~",
            hints=("<|channel|>analysis<|message|>",),
        ),
        # DeepSeek V3 and R1.
        "deepseek_v3": _deepseek(
            f"{_CALL}function{_SEPARATOR}",
            "\n```json\n",
            f"\n```{_CALL_END}",
            "\n",
            head=f"(?:~function~)?~{_SEPARATOR}~ NAME (?:~```json~|~```~)?",
            hints=("```json",),
        ),
        # DeepSeek V3.1.
        "deepseek_v31": _deepseek(_CALL, _SEPARATOR, _CALL_END, "", head=f"NAME ~{_SEPARATOR}~", hints=()),
        # Kimi K2. The id of a call is a part of it.
        "kimi": CallForm(
            opening="<|tool_calls_section_begin|>",
            before_name="<|tool_call_begin|>functions.",
            after_name=f":{INDEX}<|tool_call_argument_begin|>",
            end="<|tool_call_end|>",
            closing="<|tool_calls_section_end|>",
            ids="named",
            marks=("<|tool_calls_section_begin|>", "<|tool_call_begin|>"),
            head="(?:~<|tool_calls_section_begin|>~ )?~<|tool_call_begin|>~ (?:~functions.~)?NAME~:~[0-9]{0,4} "
            f"~<|tool_call_argument_begin|>~ {_OBJECT}",
            closers=("<|tool_call_end|>", "<|tool_calls_section_end|>"),
        ),
        # Command A and Command R7B.
        "command": CallForm(
            opening="<|START_ACTION|>[\n    ",
            before_name=f'{{"tool_call_id": "{INDEX}", "tool_name": "',
            after_name='", "parameters": ',
            end="}",
            between=",\n    ",
            closing="\n]<|END_ACTION|>",
            reasoning="command",
            marks=("<|START_ACTION|>",),
            head=f"~<|START_ACTION|>~ {_LISTED}",
            next_head=_NEXT,
            separators=",",
            closers=("]", "<|END_ACTION|>"),
        ),
        # Command R.
        "command_r": CallForm(
            opening="Action:\n```json\n[\n    ",
            before_name='{\n        "tool_name": "',
            after_name='",\n        "parameters": ',
            end="\n    }",
            between=",\n    ",
            closing="\n]```",
            reasoning="",
            marks=("Action:\n```json", "Action: ```json", "Action:```json"),
            head=f"~Action:~ ~```json~ {_LISTED}",
            next_head=_NEXT,
            separators=",",
            closers=("]", "```"),
        ),
        # Functionary 3.1, and Llama 3.1 where a prompt asks for tags of functions.
        "function_tags": CallForm(
            before_name="<function=",
            after_name=">",
            end="</function>",
            marks=("<function=",),
            head=f"~<function=~NAME~>~ {_OBJECT}",
            closers=("</function>",),
        ),
        # Granite 3.0, and 3.1 and later.
        "granite": _list_after(
            "<|tool_call|>", others=("<tool_call>",), hints=("<|tool_call|>", "<|start_of_role|>")
        ),
        "granite31": _list_after("<tool_call>", others=("<|tool_call|>",)),
        # Phi 4 mini.
        "phi4": _list_after(
            "<|tool_call|>", "<|/tool_call|>", others=("functools",), hints=("<|tool|>", "<|/tool|>")
        ),
        # Jamba.
        "jamba": _list_after("<tool_calls>", "</tool_calls>"),
    }
)
