"""Show the tokens of a prompt, or the text of tokens. Imports no model library."""

from jan.engine.backends.common import ModelTokenizer
from jan.engine.base import ChatPrompt, GenerationRequest, TextPrompt, Tokenization, TokenizedText, TokenPrompt
from jan.engine.prompts.tokenizing import PromptTooLong
from jan.engine.refusals import MOST_SHOWN, too_many_to_show
from jan.errors import InvalidRequest


def read_tokens(request: GenerationRequest, model: ModelTokenizer) -> TokenizedText:
    """Return the tokens and the text of a request's Tokenization. Thread-safe.

    Raises InvalidRequest for token ids that are not there, too many tokens, or a chat for a model without a
    template.
    """
    asked = request.prompt
    assert isinstance(asked, Tokenization)  # the caller has seen to it
    try:
        tokens, text = _read(asked.prompt, model)
    except PromptTooLong as error:
        raise too_many_to_show(str(error)) from None
    if not asked.special:
        tokens = _without_special(tokens, text, model)
    return TokenizedText(tokens=tuple(tokens), spelled=tuple(map(model.spelling_of, tokens)), text=text)


def _read(prompt: ChatPrompt | TextPrompt | TokenPrompt, model: ModelTokenizer) -> tuple[list[int], str]:
    if isinstance(prompt, ChatPrompt):
        if model.template is None:
            raise InvalidRequest("This model has no chat template. Send a prompt.", param="model")
        chat = model.template.render_chat(prompt)
        return model.tokenize_chat(chat.prompt, MOST_SHOWN), chat.text
    if isinstance(prompt, TextPrompt):
        return model.tokenize(prompt.text, MOST_SHOWN), prompt.text
    size = len(model.pieces)
    for index, token in enumerate(prompt.tokens):
        if token >= size:
            named = f"tokens[{index}]"
            allowed = f"Token ids must be below {size}, the size of this model's vocabulary"
            raise InvalidRequest(f"{named}: {allowed}. Token {token} is out of vocabulary.", param=named)
    return list(prompt.tokens), model.text_of(list(prompt.tokens))


def _without_special(tokens: list[int], text: str, model: ModelTokenizer) -> list[int]:
    """Return tokens without those around every text, unless the text spells them itself."""
    begin, end = model.begin, model.end
    if begin and tokens[: len(begin)] == begin and not text.startswith(model.spelling_of(begin[0])):
        tokens = tokens[len(begin) :]
    if end and tokens[-len(end) :] == end:
        tokens = tokens[: -len(end)]
    return tokens
