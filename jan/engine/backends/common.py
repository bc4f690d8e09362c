"""Tokenise a request and check it: shared by the llama.cpp and ExLlama backends. Imports no model library."""

from typing import Any, Protocol

import msgspec

from jan.engine.backends.token_rules import TokenRules, rules_of
from jan.engine.base import ChatPrompt, GenerationRequest, PromptNotes, TextPrompt
from jan.engine.grammars.constraint import Constraint, GrammarCompiler
from jan.engine.prompts.chat_template import ChatTemplate
from jan.engine.prompts.dialects import PLAIN, Dialect
from jan.engine.runtime.capacity import prompt_too_long, token_budget
from jan.errors import InvalidRequest


class ModelTokenizer(Protocol):
    """A model's vocabulary, chat template and output formats.

    ``pieces``: the bytes of each token, by token id. ``stop_tokens``: ids of those that end an answer.
    ``longest_piece``: bytes of the longest token.
    ``begin_token``: what an empty prompt is replaced by. ``template``: None if the model has no chat template.
    """

    pieces: list[bytes]
    stop_tokens: frozenset[int]
    longest_piece: int
    begin_token: int
    template: ChatTemplate | None
    grammars: GrammarCompiler

    def tokenize(self, text: str) -> list[int]:
        """Return the token ids of a text, with the begin token if the model wants one."""
        ...

    def tokenize_chat(self, text: str) -> list[int]:
        """Return the token ids of a rendered chat, with exactly one begin token if the model wants one."""
        ...

    def tokenize_plain(self, text: str) -> list[int]:
        """Return the token ids of a text that spells no control tokens, without a begin token."""
        ...

    def text_of(self, tokens: list[int]) -> str:
        """Return the text of tokens; bytes that are not UTF-8 become U+FFFD."""
        ...


class TokenizedRequest(msgspec.Struct):
    """A request that the model can serve, ready to begin.

    ``limit``: tokens that may be generated. ``prompt_text``: the prompt's text if the request has ``echo``, else
    ''.
    ``dialect``: how the answer is written. ``rules``: bans and penalties, of this answer alone. ``library_job``:
    the model library's own object for the request, None if the backend needs none. ``notes``: what was left out
    of the request.
    """

    request: GenerationRequest
    tokens: list[int]
    limit: int
    prompt_text: str
    constraint: Constraint | None
    dialect: Dialect
    rules: TokenRules
    library_job: Any = None
    notes: PromptNotes = PromptNotes()

    @property
    def prompt_tokens(self) -> int:
        """Length of the prompt in tokens."""
        return len(self.tokens)


def tokenize_request(request: GenerationRequest, model: ModelTokenizer, context_length: int) -> TokenizedRequest:
    """Render, tokenise and check a request, and compile its output format.

    Raises InvalidRequest if the prompt does not fit into ``context_length`` tokens, has token ids that the model
    does not have, needs a chat template that is not there, or if the output format can't be enforced.
    """
    tokens, dialect, notes = _prompt_tokens(request, model, context_length)
    limit = token_budget(request, len(tokens), context_length)
    rules = rules_of(request, tokens, limit, model)
    constraint = model.grammars.compile(request.output, dialect)
    prompt_text = model.text_of(tokens) if request.echo else ""
    return TokenizedRequest(request, tokens, limit, prompt_text, constraint, dialect, rules, notes=notes)


def _prompt_tokens(
    request: GenerationRequest, model: ModelTokenizer, context_length: int
) -> tuple[list[int], Dialect, PromptNotes]:
    """Return the prompt's tokens, the dialect of its answer, and what the prompt does not show."""
    prompt, dialect, notes = request.prompt, PLAIN, PromptNotes()
    if isinstance(prompt, ChatPrompt):
        if model.template is None:
            raise InvalidRequest("This model has no chat template. Use /completions.", param="model")
        chat = model.template.render_chat(prompt)
        dialect, notes = chat.dialect, PromptNotes(ignored=chat.ignored, call_ids=model.template.call_ids)
        _check_length(request, chat.text, model, context_length)
        tokens = model.tokenize_chat(chat.text)
    elif isinstance(prompt, TextPrompt):
        _check_length(request, prompt.text, model, context_length)
        tokens = model.tokenize(prompt.text)
    else:
        tokens = list(prompt.tokens)
    if max(tokens, default=0) >= len(model.pieces):
        param = "messages" if isinstance(prompt, ChatPrompt) else "prompt"
        raise InvalidRequest(f"Token ids must be below {len(model.pieces)}.", param=param)
    # The first token is sampled from the logits of the one before, so there must be one before.
    return tokens or [model.begin_token], dialect, notes


def _check_length(request: GenerationRequest, text: str, model: ModelTokenizer, context_length: int) -> None:
    """Refuse a text that can't fit however it is tokenised: tokenising megabytes would stall all other answers."""
    if (at_least := len(text.encode()) // model.longest_piece) > context_length:
        raise prompt_too_long(request, f"at least {at_least}", context_length)
