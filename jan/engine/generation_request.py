"""A request to an engine: a prompt, sampling, and where to end; or texts to embed or to score.

It can be sent to another process.
"""

from typing import Any, Literal

import msgspec

from jan.engine.formats import OutputFormat
from jan.schema.messages import Message
from jan.schema.tools import Tool

Priority = Literal["high", "normal", "low"]


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of sampling. The defaults are OpenAI's: the model's own distribution.

    ``temperature``: 0 takes the likeliest token. ``top_k``: 0 is off. ``top_p``: nucleus sampling (Holtzman et al.
    2020); 1 is off. ``min_p``: drops tokens less likely than this part of the likeliest (Nguyen et al. 2024); 0 is
    off. ``typical_p``: locally typical sampling (Meister et al. 2022); 1 is off. ``top_n_sigma``: keeps logits
    within this many standard deviations of the highest (Tang et al. 2024); 0 is off. ``xtc_probability``,
    ``xtc_threshold``: exclude top choices (text-generation-webui, pull request 6335). ``dynatemp_range``,
    ``dynatemp_exponent``: the temperature lies so far around ``temperature``, by entropy (Zhang et al. 2023); 0
    is off. ``mirostat``: 1 or 2 (Basu et al. 2021), with ``mirostat_tau`` in bits and ``mirostat_eta``; 0 is off.

    ``presence_penalty``, ``frequency_penalty``: as in OpenAI's API. ``repeat_penalty``: as in CTRL (Keskar et al.
    2019); 1 is off. ``repeat_last_n``: tokens of the answer that these look back at. ``dry_multiplier`` and so
    on: don't repeat yourself (text-generation-webui, pull request 5677); 0 is off, ``dry_penalty_last_n`` -1 is
    everything.
    ``logit_bias``: added to logits, by token id. ``seed``: makes sampling repeatable. Results can still differ
    slightly, because batching changes floating-point rounding.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    typical_p: float = 1.0
    top_n_sigma: float = 0.0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_penalty: float = 1.0
    repeat_last_n: int = 4096
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    logit_bias: dict[int, float] = {}
    seed: int | None = None

    @property
    def penalises(self) -> bool:
        """True if there are penalties for single earlier tokens."""
        penalties = (self.presence_penalty, self.frequency_penalty, self.repeat_penalty)
        return penalties != (0.0, 0.0, 1.0) and self.repeat_last_n > 0

    @property
    def dries(self) -> bool:
        """True if there are penalties for continuing a repetition."""
        return self.dry_multiplier > 0 and self.dry_penalty_last_n != 0


class ChatPrompt(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Messages that the model's chat template turns into a prompt.

    ``add_generation_prompt``: end the prompt with the tokens that begin an answer. ``continue_final_message``:
    instead, leave the last message open, for the answer to continue it. ``stored_messages``: how many of the first
    messages are from a stored conversation, and not from the request. ``sent_tools``: the tools as the client
    wrote them, with names that ``tools`` does not have. ``documents``: texts for a template that shows some.
    ``template_options``: other variables of the template by name, such as ``enable_thinking``.
    """

    messages: tuple[Message, ...]
    stored_messages: int = 0
    tools: tuple[Tool, ...] = ()
    sent_tools: tuple[dict[str, Any], ...] = ()
    documents: tuple[dict[str, Any], ...] | None = None
    template_options: dict[str, Any] = {}
    add_generation_prompt: bool = True
    continue_final_message: bool = False


class TextPrompt(msgspec.Struct, frozen=True, tag=True):
    """A prompt of text, used without a template. ``suffix``: the text after the answer, which fills the gap."""

    text: str
    suffix: str = ""


class TokenPrompt(msgspec.Struct, frozen=True, tag=True):
    """A prompt of token ids, used without a tokenizer."""

    tokens: tuple[int, ...]


class EmbeddingPrompt(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Texts to embed, each as text or as token ids. Nothing is generated.

    ``dimensions``: the numbers of a vector that are kept; None: all. ``named``: where the texts are in the
    client's request, for errors; without, ``input[0]`` and so on. ``longest``: the most tokens that are kept of
    each text, without special tokens; 0: all; empty: all of all texts.
    """

    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None
    named: tuple[str, ...] = ()
    longest: tuple[int, ...] = ()

    def name_of(self, index: int) -> str:
        """Return where a text is in the client's request."""
        return self.named[index] if self.named else f"input[{index}]"


class PairPrompt(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Pairs of texts to score by a model that reads both together. Nothing is generated.

    ``ones``: the first texts: one for all ``others``, or as many as they are. ``named``: where the texts are in
    the client's request, for errors: those of ``ones``, then those of ``others``. ``longest_one``,
    ``longest_other``: the most tokens that are kept of a text of each side; 0: all.
    """

    ones: tuple[str, ...]
    others: tuple[str, ...]
    named: tuple[str, ...]
    longest_one: int = 0
    longest_other: int = 0


class Tokenization(msgspec.Struct, frozen=True, tag=True):
    """A prompt whose tokens and text are wanted. Nothing is computed.

    ``special``: with the tokens that the model wants around every text; in a chat, those that its template does
    not spell.
    """

    prompt: ChatPrompt | TextPrompt | TokenPrompt
    special: bool = True


class TokenizedText(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens of a prompt, as ids and as the vocabulary spells them, and its text."""

    tokens: tuple[int, ...]
    spelled: tuple[str, ...]
    text: str


#: What a model computes with.
Prompt = ChatPrompt | TextPrompt | TokenPrompt | EmbeddingPrompt | PairPrompt | Tokenization


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One sequence to generate, or one list of texts to embed, or of pairs to score.

    ``max_tokens``: most tokens of the answer; None: as many as the context allows.
    ``stop``: strings that end the answer; ``stop_tokens``: token ids that do. ``include_stop``: the answer has the
    text of what ended it. ``ignore_eos``: the model's own stop tokens are never generated. ``min_tokens``:
    there is no stop token before this many tokens.
    ``bad_words``: texts that are never generated. ``allowed_tokens``: the only token ids that are; empty: all.
    ``logprobs``: number of alternatives to return with each token; None: no log probabilities.
    ``prompt_logprobs``: the same for the tokens of the prompt.
    ``token_ids``: return the ids of tokens too.
    ``truncate``: keep this many tokens of the prompt, by default the last ones; -1: as many as fit with
    ``max_tokens``; ``truncate_end``: keep the first ones instead. Each text to embed is cut so, with its special
    tokens. Of a pair, the longer text is cut at its end.
    ``skip_special``: leave control tokens out of the text that have no meaning for tools or reasoning.
    ``inline_reasoning``: leave reasoning in the text, as the model wrote it.
    ``cache_salt``: only requests with the same one share cached prefixes.
    ``output``: the form that the answer must have.
    ``echo``: return the prompt's text too.
    ``owner``: the caller whose share of the queue and of cached prefixes this uses; ``anonymous``: the caller
    has no credentials. A run sets both.
    ``priority``: the class in which it waits.
    ``buffered``: nothing is shown before the end, so deltas may be delayed a little and merged.
    """

    prompt: Prompt
    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    stop_tokens: tuple[int, ...] = ()
    include_stop: bool = False
    ignore_eos: bool = False
    min_tokens: int = 0
    bad_words: tuple[str, ...] = ()
    allowed_tokens: tuple[int, ...] = ()
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    token_ids: bool = False
    truncate: int | None = None
    truncate_end: bool = False
    skip_special: bool = False
    inline_reasoning: bool = False
    cache_salt: str = ""
    output: OutputFormat = OutputFormat()
    echo: bool = False
    owner: str = ""
    anonymous: bool = False
    priority: Priority = "normal"
    buffered: bool = False
