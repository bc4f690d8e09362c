"""The tables of dialects: every form of tool calls and of reasoning by its name, as data."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

from jan.engine.prompts.dialects.forms import CallForm, ReasoningForm, ReasoningFormat
from jan.engine.prompts.dialects.json_calls import JSON_CALLS
from jan.engine.prompts.dialects.literal_calls import LITERAL_CALLS
from jan.engine.prompts.dialects.marked_calls import MARKED_CALLS

ToolFormat = Literal[
    "hermes",
    "longcat",
    "internlm",
    "mistral",
    "mistral_ids",
    "mistral_args",
    "llama3",
    "harmony",
    "deepseek_v3",
    "deepseek_v31",
    "kimi",
    "command",
    "command_r",
    "function_tags",
    "granite",
    "granite31",
    "phi4",
    "jamba",
    "qwen3_coder",
    "seed",
    "glm",
    "glm47",
    "minimax",
    "pythonic",
    "lfm2",
    "gemma3",
    "olmo3",
    "gemma4",
    "function_gemma",
]

TOOL_FORMATS: tuple[ToolFormat, ...] = get_args(ToolFormat)

CALLS: Mapping[str, CallForm] = MappingProxyType({**JSON_CALLS, **MARKED_CALLS, **LITERAL_CALLS})

REASONING: Mapping[ReasoningFormat, ReasoningForm] = MappingProxyType[ReasoningFormat, ReasoningForm](
    {
        # gpt-oss: an answer is a row of messages, each in a channel.
        "harmony": ReasoningForm(
            open="<|channel|>analysis<|message|>",
            close="<|end|>",
            content_open="<|channel|>final<|message|>",
            in_channels=True,
        ),
        # Seed-OSS.
        "seed": ReasoningForm(open="<seed:think>", close="</seed:think>"),
        # Magistral, Ministral 3 Reasoning.
        "mistral": ReasoningForm(open="[THINK]", close="[/THINK]"),
        # Command A and Command R7B.
        "command": ReasoningForm(
            open="<|START_THINKING|>",
            close="<|END_THINKING|>",
            content_open="<|START_RESPONSE|>",
            content_close="<|END_RESPONSE|>",
        ),
        # Gemma 4.
        "gemma4": ReasoningForm(open="<|channel>thought\n", close="<channel|>"),
        # Granite 3.2.
        "granite": ReasoningForm(open="Here is my thought process:", close="Here is my response:"),
        # Granite 3.3, ERNIE 4.5.
        "response": ReasoningForm(
            open="<think>", close="</think>", content_open="<response>", content_close="</response>"
        ),
        # Hunyuan A13B.
        "answer": ReasoningForm(
            open="<think>", close="</think>", content_open="<answer>", content_close="</answer>"
        ),
        # DeepSeek R1, Qwen 3, GLM, Kimi, MiniMax, Nemotron and most others.
        "think": ReasoningForm(open="<think>", close="</think>"),
    }
)
