"""Forms of tool calls whose arguments are literals of Python, or objects with bare keys."""

from collections.abc import Mapping
from types import MappingProxyType

from jan.engine.prompts.dialects.forms import ArgumentForm, CallForm, ReasoningFormat

# A call may be the argument of ``print``, which is no tool.
_NO_PRINT = r"(?!print\()"
_KEYWORDS = ArgumentForm(key_end="=", between=", ")


def _python(
    opening: str, closing: str, *, mark: str, end: str, bare: bool = False, hints: tuple[str, ...] = ()
) -> CallForm:
    """Return the form of a list of Python calls. ``mark``, ``end``: may stand around it. ``bare``: the
    bracket may begin it."""
    listed = f"~{mark}~ (?:~[~ )?(?:NAME~(~|(?=~{{~))"
    return CallForm(
        opening=opening,
        before_name="",
        after_name="(",
        end=")",
        between=", ",
        closing=closing,
        arguments="python",
        argument=_KEYWORDS,
        marks=(mark,),
        head=listed,
        bare_head=" ~[~ NAME~(~" if bare else "",
        next_head=" (?:NAME~(~|(?=~{~))",
        separators=",",
        closers=("]", end),
        hints=hints,
    )


def _lines(mark: str, end: str, *, reasoning: ReasoningFormat) -> CallForm:
    """Return the form of Python calls on lines between two marks."""
    return CallForm(
        opening=f"{mark}\n",
        before_name="",
        after_name="(",
        end=")",
        between="\n",
        closing=f"\n{end}",
        arguments="python",
        argument=_KEYWORDS,
        reasoning=reasoning,
        marks=(mark,),
        head=rf"~{mark}~ (?:~print(~|~[~)? {_NO_PRINT}NAME~(~",
        next_head=rf" (?:~print(~)?{_NO_PRINT}NAME~(~",
        separators=",;",
        closers=(")", "]", end),
    )


def _compact(begin: str, end: str, quote: str, reasoning: ReasoningFormat) -> CallForm:
    """Return the form of an object with bare keys, and strings between ``quote``."""
    return CallForm(
        before_name=f"{begin}call:",
        after_name="{",
        end=f"}}{end}",
        arguments="compact",
        argument=ArgumentForm(key_end=":", between=",", quote=quote),
        reasoning=reasoning,
        marks=(begin,),
        head=f"~{begin}~ ~call:~ NAME ~{{~",
        closers=(end,),
    )


LITERAL_CALLS: Mapping[str, CallForm] = MappingProxyType(
    {
        # Llama 3.2 and 4 where a template asks for Python.
        "pythonic": _python("[", "]", mark="<|python_start|>", end="<|python_end|>", bare=True),
        # LFM 2.
        "lfm2": _python(
            "<|tool_call_start|>[",
            "]<|tool_call_end|>",
            mark="<|tool_call_start|>",
            end="<|tool_call_end|>",
            hints=("<|tool_list_start|>",),
        ),
        # Gemma 3, as its makers prompt it. Its template knows no tools.
        "gemma3": _lines("```tool_code", "```", reasoning=""),
        # OLMo 3.
        "olmo3": _lines("<function_calls>", "</function_calls>", reasoning="think"),
        # Gemma 4.
        "gemma4": _compact("<|tool_call>", "<tool_call|>", '<|"|>', "gemma4"),
        # FunctionGemma.
        "function_gemma": _compact("<start_function_call>", "<end_function_call>", "<escape>", ""),
    }
)
