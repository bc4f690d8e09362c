"""POST /tokenize and /detokenize, GET /tokenizer_info: the bodies of vLLM, and of llama-server."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.chat import AddGenerationPrompt, ContinueFinalMessage, TemplateOptions
from jan.schema.messages import Message
from jan.schema.open_body import OpenStruct, Unserved
from jan.schema.penalty_parameters import TokenId
from jan.schema.tools import RequestedTool

ModelOrFirst = Annotated[str, Meta(description="The id of a model, or an alias; default the first one")]

#: Parameters of vLLM that are not served.
UNSERVED_IN_TOKENIZE: Mapping[str, Unserved] = MappingProxyType(
    {
        "chat_template": Unserved(whose="vLLM", reason="The model's own chat template makes the prompt."),
        "mm_processor_kwargs": Unserved(whose="vLLM", reason="This server's models read text only."),
        "media_io_kwargs": Unserved(whose="vLLM", reason="This server's models read text only."),
    }
)


class TokenizeRequest(OpenStruct, kw_only=True):
    """Body of a request to tokenise a text or a chat: ``prompt``, ``messages``, or llama-server's ``content``."""

    unserved: ClassVar[Mapping[str, Unserved]] = UNSERVED_IN_TOKENIZE

    model: ModelOrFirst | None = None
    prompt: Annotated[str, Meta(description="A text")] | None = None
    messages: Annotated[list[Message], Meta(max_length=4096, description="A chat")] | None = None
    tools: Annotated[list[RequestedTool], Meta(max_length=128, description="Functions of the chat")] | None = None
    add_special_tokens: (
        Annotated[
            bool,
            Meta(
                description="With the tokens that the model wants around every text. Default true for a text; a "
                "chat without it is as the model gets it"
            ),
        ]
        | None
    ) = None
    return_token_strs: (
        Annotated[bool, Meta(description="Return the tokens as the vocabulary spells them too")] | None
    ) = None
    add_generation_prompt: AddGenerationPrompt | None = None
    continue_final_message: ContinueFinalMessage | None = None
    chat_template_kwargs: TemplateOptions | None = None
    content: Annotated[str, Meta(description="llama-server's name of a text, without special tokens")] | None = (
        None
    )
    add_special: Annotated[bool, Meta(description="llama-server's name of add_special_tokens")] | None = None
    parse_special: (
        Annotated[Literal[True], Meta(description="A text may spell special tokens; this is always so")] | None
    ) = None
    with_pieces: Annotated[bool, Meta(description="Return each token as an object with its text")] | None = None


class TokenPiece(msgspec.Struct, frozen=True, kw_only=True):
    """A token in llama-server's form."""

    id: int
    piece: str


class TokenizeResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens of a text or a chat. ``max_model_len``: the model's context in tokens."""

    count: int
    max_model_len: int
    tokens: list[int | TokenPiece]
    token_strs: list[str] | None = None


class DetokenizeRequest(OpenStruct, kw_only=True):
    """Body of a request to turn tokens into text."""

    model: ModelOrFirst | None = None
    tokens: Annotated[list[TokenId], Meta(max_length=2**20)]


class DetokenizeResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The text of tokens. ``content``: the same under llama-server's name, unless the request named a model."""

    prompt: str
    content: str | UnsetType = UNSET


class TokenizerQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The model whose tokenizer is asked for."""

    model: ModelOrFirst | None = None


class TokenizerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A model's tokenizer, in the words of tokenizer_config.json. ``tokenizer_class``: its kind."""

    tokenizer_class: str
    vocab_size: int
    model_max_length: int
    bos_token: str | None
    eos_token: str | None
    chat_template: str | None


class RenderedPrompt(msgspec.Struct, frozen=True, kw_only=True):
    """The prompt of a chat as the model gets it."""

    object: Literal["chat.completion.prompt"] = "chat.completion.prompt"
    model: str
    prompt: str
    token_ids: list[int]
    count: int
