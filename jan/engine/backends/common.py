"""Tokenise a request and check it: shared by the llama.cpp and ExLlama backends. Imports no model library."""

from typing import Any, Protocol

import msgspec

from jan.engine.backends.token_rules import TokenRules, rules_of
from jan.engine.base import ChatPrompt, GenerationRequest, Prompt, PromptNotes, TextPrompt, TokenPrompt
from jan.engine.grammars.constraint import Constraint, GrammarCompiler
from jan.engine.prompts.chat_template import ChatTemplate
from jan.engine.prompts.dialects import PLAIN, Dialect
from jan.engine.prompts.segments import MarkedPrompt
from jan.engine.prompts.tokenizing import PromptTooLong
from jan.engine.runtime.capacity import prompt_too_long, token_budget
from jan.errors import InvalidRequest

# Room for a prompt that is cut afterwards: more than any body holds.
_NO_LIMIT = 2**31


class ModelTokenizer(Protocol):
    """A model's vocabulary, chat template and output formats. Tokenising is thread-safe.

    ``pieces``: the bytes of each token, by token id. ``stop_tokens``: ids of those that end an answer.
    ``control_tokens``: ids of those that are no text. ``fill_tokens``: ids of those before the text before a gap,
    before the text after it, and before what fills it; None if the model can't fill in.
    ``begin``, ``end``: the tokens that belong around every text.
    ``begin_token``: what an empty prompt is replaced by. ``template``: None if the model has no chat template.
    """

    pieces: list[bytes]
    stop_tokens: frozenset[int]
    control_tokens: list[int]
    fill_tokens: tuple[int, int, int] | None
    begin: list[int]
    end: list[int]
    begin_token: int
    template: ChatTemplate | None

    @property
    def grammars(self) -> GrammarCompiler:
        """The compiler of output formats."""
        ...

    def tokenize(self, text: str, room: int) -> list[int]:
        """Return the token ids of a text, with the begin token if the model wants one.

        Raises PromptTooLong if there are more than ``room``.
        """
        ...

    def tokenize_chat(self, prompt: MarkedPrompt, room: int) -> list[int]:
        """Return the token ids of a rendered chat, with exactly one begin token if the model wants one.

        Raises PromptTooLong if there are more than ``room``.
        """
        ...

    def tokenize_plain(self, text: str) -> list[int]:
        """Return the token ids of a text that spells no control tokens, without a begin token."""
        ...

    def spelling_of(self, token: int) -> str:
        """Return a token as the vocabulary spells it."""
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


class TokenizedPrompt(msgspec.Struct, frozen=True):
    """A prompt's tokens. All sequences of a request that have the prompt share it.

    ``dialect``: how answers to it are written. ``notes``: what was left out of the request. ``empty``: it had no
    tokens, and the begin token stands for it.
    """

    tokens: list[int]
    dialect: Dialect
    notes: PromptNotes
    empty: bool = False


def tokenize_prompt(request: GenerationRequest, model: ModelTokenizer, context_length: int) -> TokenizedPrompt:
    """Render and tokenise a request's prompt. Thread-safe.

    Takes time in proportion to the prompt, or to ``context_length`` where the prompt is longer.

    Raises InvalidRequest if the prompt leaves no room in ``context_length`` tokens, has token ids that the model
    does not have, or needs a chat template that is not there.
    """
    try:
        room = context_length - 1 if request.truncate is None else _NO_LIMIT
        prompt = _tokenized(request.prompt, model, room)
    except PromptTooLong as error:
        raise prompt_too_long(request, str(error), context_length) from None
    if (largest := max(prompt.tokens, default=0)) >= (size := len(model.pieces)):
        param = "messages" if isinstance(request.prompt, ChatPrompt) else "prompt"
        allowed = f"Token ids must be below {size}, the size of this model's vocabulary"
        raise InvalidRequest(f"{param}: {allowed}. Token {largest} is out of vocabulary.", param=param)
    tokens = _truncated(prompt.tokens, request, context_length) or [model.begin_token]
    return msgspec.structs.replace(prompt, tokens=tokens)


def _truncated(tokens: list[int], request: GenerationRequest, context_length: int) -> list[int]:
    """Return as much of a prompt as the request asks for."""
    most = request.truncate
    if most is None:
        return tokens
    if most < 0:
        most = max(1, context_length - (1 if request.max_tokens is None else request.max_tokens))
    return tokens[:most] if request.truncate_end else tokens[max(0, len(tokens) - most) :]


def _tokenized(prompt: Prompt, model: ModelTokenizer, room: int) -> TokenizedPrompt:
    if isinstance(prompt, ChatPrompt):
        if model.template is None:
            raise InvalidRequest("This model has no chat template. Use /completions.", param="model")
        chat = model.template.render_chat(prompt)
        tokens = model.tokenize_chat(chat.prompt, room)
        dialect, notes = chat.dialect, PromptNotes(ignored=chat.ignored, call_ids=model.template.call_ids)
    else:
        assert isinstance(prompt, TextPrompt | TokenPrompt)  # this model embeds nothing
        tokens = _plain_tokens(prompt, model, room)
        dialect, notes = PLAIN, PromptNotes()
    # The first token is sampled from the logits of the one before, so there must be one before.
    return TokenizedPrompt(tokens or [model.begin_token], dialect, notes, empty=not tokens)


def _plain_tokens(prompt: TextPrompt | TokenPrompt, model: ModelTokenizer, room: int) -> list[int]:
    """Return the tokens of a prompt without a template."""
    if isinstance(prompt, TextPrompt):
        return _filled(prompt, model, room) if prompt.suffix else model.tokenize(prompt.text, room)
    if len(prompt.tokens) > room:
        raise PromptTooLong(len(prompt.tokens), exact=True)
    return list(prompt.tokens)


def _filled(prompt: TextPrompt, model: ModelTokenizer, room: int) -> list[int]:
    """Return the tokens of a text with a gap, in the order prefix, suffix, middle (Bavarian et al. 2022)."""
    assert model.fill_tokens is not None  # ``ModelInfo.fills_in`` says so
    before, after, middle = model.fill_tokens
    begin, text = model.tokenize("", room), model.tokenize_plain(prompt.text)
    tokens = [*begin, before, *text, after, *model.tokenize_plain(prompt.suffix), middle]
    if len(tokens) > room:
        raise PromptTooLong(len(tokens), exact=True)
    return tokens


def prepare_request(
    request: GenerationRequest, prompt: TokenizedPrompt, model: ModelTokenizer, context_length: int
) -> TokenizedRequest:
    """Check a request whose prompt is tokenised, and compile its output format.

    Raises InvalidRequest if the prompt does not fit, or if the output format can't be enforced.
    """
    limit = token_budget(request, len(prompt.tokens), context_length)
    rules = rules_of(request, prompt.tokens, limit, model)
    constraint, relaxed = model.grammars.compile_noted(request.output, prompt.dialect)
    notes = msgspec.structs.replace(prompt.notes, relaxed=relaxed)
    prompt_text = model.text_of(prompt.tokens) if request.echo and not prompt.empty else ""
    return TokenizedRequest(
        request, prompt.tokens, limit, prompt_text, constraint, prompt.dialect, rules, notes=notes
    )
