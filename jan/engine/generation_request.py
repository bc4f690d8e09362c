"""What an engine is asked for: a prompt, how to choose tokens, where to end. It can cross to another process."""

from typing import Literal

import msgspec

from jan.engine.formats import OutputFormat
from jan.schema.chat import Tool
from jan.schema.messages import Message

Priority = Literal["high", "normal", "low"]


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How the next token is chosen. The defaults are OpenAI's: the model's own distribution."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_penalty: float = 1.0
    logit_bias: dict[int, float] = {}
    seed: int | None = None

    @property
    def penalises(self) -> bool:
        """Whether earlier tokens influence the choice other than through the model."""
        return (self.presence_penalty, self.frequency_penalty, self.repeat_penalty) != (0.0, 0.0, 1.0)


class ChatPrompt(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Messages that the model's chat template turns into a prompt. ``add_generation_prompt``: with what begins an
    answer; ``continue_final_message``: instead, the last message is left open and the answer goes on with it."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    add_generation_prompt: bool = True
    continue_final_message: bool = False


class TextPrompt(msgspec.Struct, frozen=True, tag=True):
    """Text that is the prompt as it stands."""

    text: str


class TokenPrompt(msgspec.Struct, frozen=True, tag=True):
    """Token ids that are the prompt as they stand."""

    tokens: tuple[int, ...]


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One sequence to generate. ``max_tokens`` None: as many as the context takes.

    ``logprobs``: None for none, else how many candidates beside each token. ``echo``: give the prompt's
    text back. ``owner`` is whose share of the engine this uses, ``priority`` the class in which it waits.
    ``whole``: nobody sees anything of it before its end, so deltas may come a little later, several as one.
    """

    prompt: ChatPrompt | TextPrompt | TokenPrompt
    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    output: OutputFormat = OutputFormat()
    echo: bool = False
    owner: str = ""
    priority: Priority = "normal"
    whole: bool = False
