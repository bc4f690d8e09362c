"""Forms of tool calls whose arguments stand between marks, each for itself."""

from collections.abc import Mapping
from types import MappingProxyType

from jan.engine.prompts.dialects.forms import ArgumentForm, CallForm, ReasoningFormat


def _functions(
    tag: str, *, before_value: str = "", end: str = "</parameter>\n", reasoning: ReasoningFormat = "think"
) -> CallForm:
    """Return the form of tags for functions and parameters between others for calls."""
    return CallForm(
        before_name=f"<{tag}>\n<function=",
        after_name=">\n",
        end=f"</function>\n</{tag}>",
        between="\n",
        arguments="marked",
        argument=ArgumentForm(
            before_key="<parameter=",
            key_end=">",
            before_value=before_value,
            end=end,
            trims=True,
            next_key_ends=True,
        ),
        reasoning=reasoning,
        marks=(f"<{tag}>", "<function="),
        head=f"(?:~<{tag}>~ )?~<function=~NAME~>~",
        closers=("</function>", f"</{tag}>"),
    )


def _glm(line_break: str) -> CallForm:
    """Return the form of a name, then keys and values in tags of their own."""
    return CallForm(
        before_name="<tool_call>",
        after_name=line_break,
        end="</tool_call>",
        between=line_break,
        arguments="marked",
        argument=ArgumentForm(
            before_key="<arg_key>",
            key_end="</arg_key>",
            before_value=f"{line_break}<arg_value>",
            end=f"</arg_value>{line_break}",
        ),
        marks=("<tool_call>",),
        head="~<tool_call>~ NAME (?=~<arg_key>~|~</tool_call>~)",
        closers=("</tool_call>",),
    )


MARKED_CALLS: Mapping[str, CallForm] = MappingProxyType(
    {
        # Qwen3-Coder, Qwen 3.5, Nemotron 3, Step 3.5.
        "qwen3_coder": _functions("tool_call", before_value="\n", end="\n</parameter>\n"),
        # Seed-OSS.
        "seed": _functions("seed:tool_call", reasoning="seed"),
        # GLM 4.5 and 4.6.
        "glm": _glm("\n"),
        # GLM 4.7 and later.
        "glm47": _glm(""),
        # MiniMax M2.
        "minimax": CallForm(
            opening="<minimax:tool_call>\n",
            before_name='<invoke name="',
            after_name='">\n',
            end="</invoke>\n",
            closing="</minimax:tool_call>",
            arguments="marked",
            argument=ArgumentForm(before_key='<parameter name="', key_end='">', end="</parameter>\n", trims=True),
            marks=("<minimax:tool_call>", "<invoke name="),
            head="(?:~<minimax:tool_call>~ )?~<invoke name=~[\"']?NAME[\"']?~>~",
            closers=("</invoke>", "</minimax:tool_call>"),
        ),
    }
)
