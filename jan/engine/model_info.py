"""The abilities of a loaded model, as its backend tells them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

from jan.engine.formats import FormatCompiler
from jan.engine.stats import CacheUse
from jan.schema.open_body import Unserved


class ChatForms(msgspec.Struct, frozen=True, kw_only=True):
    """How a model's chats are written.

    ``dialect``: the form of tool calls. ``tools``: ``native`` if the chat template shows tools and calls in this
    form, ``instructions`` if they are spelled out for the model. ``reasoning``: the form of reasoning, '' if there
    is none.
    """

    dialect: str
    tools: Literal["native", "instructions"]
    reasoning: str


class EmbeddingForms(msgspec.Struct, frozen=True, kw_only=True):
    """The vectors of a model that embeds.

    ``dimensions``: numbers of a vector. ``pooling``: how the vectors of a text's tokens become one, ``mean``,
    ``cls`` or ``last``. ``matryoshka``: numbers to which vectors may be cut; None: any.
    """

    dimensions: int
    pooling: str
    matryoshka: tuple[int, ...] | None = ()


class TokenizerForms(msgspec.Struct, frozen=True, kw_only=True):
    """A model's tokenizer.

    ``kind``: such as BPE. ``size``: tokens of the vocabulary. ``begin``, ``end``: the spelling of the tokens that
    begin and end a text, '' if there is none. ``chat_template``: its source, '' if there is none.
    """

    kind: str
    size: int = 0
    begin: str = ""
    end: str = ""
    chat_template: str = ""


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The abilities of a loaded model.

    ``context_length``: most tokens of prompt and answer together.
    ``slots``: most requests that run at once; None: no fixed number.
    ``generates``: it answers prompts. ``embeds``: how it embeds texts; None if it does not. ``scores``: it scores
    pairs of texts.
    ``logprobs``, ``output_formats``, ``token_prompts``: what requests may ask for.
    ``fills_in``: a prompt may have a suffix.
    ``cache``: use of the key-value cache, kept up to date by the backend; None without a cache.
    ``formats``: compiles output formats; None if they are not enforced.
    ``chats``: how chats are written; None if the model takes none.
    ``tokenizer``: how it tokenises; None if its tokens can't be shown.
    ``demo``: it only shows that the server works, and its answers are of little use.
    ``details``: text for the log and the list of models.
    ``fingerprint``: identifies engine and weights, see ``engine.fingerprint``; '' if unknown.
    ``unserved``: parameters of requests that the engine can't serve, by their names in the API.
    """

    context_length: int
    slots: int | None = None
    generates: bool = True
    embeds: EmbeddingForms | None = None
    scores: bool = False
    logprobs: bool = False
    output_formats: bool = False
    token_prompts: bool = False
    fills_in: bool = False
    cache: CacheUse | None = None
    formats: FormatCompiler | None = None
    chats: ChatForms | None = None
    tokenizer: TokenizerForms | None = None
    demo: bool = False
    details: dict[str, str] = {}
    fingerprint: str = ""
    unserved: Mapping[str, Unserved] = MappingProxyType({})
