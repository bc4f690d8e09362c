"""Show the words of the echo models as tokens."""

import re
from itertools import islice
from zlib import crc32

from jan.engine.base import ChatPrompt, GenerationRequest, TextPrompt, Tokenization, TokenizedText
from jan.engine.prompts.plain_messages import plain_messages, plain_text
from jan.engine.refusals import MOST_SHOWN, too_many_to_show
from jan.errors import InvalidRequest

#: A word, with the white space after it.
WORD = re.compile(r"\S+\s*|\s+")


def texts_of(prompt: ChatPrompt | TextPrompt) -> tuple[str, str]:
    """Return the whole prompt, and the part of it that is repeated."""
    if isinstance(prompt, ChatPrompt):
        texts = [plain_text(message["content"]) for message in plain_messages(prompt.messages)]
        return "\n".join(texts), texts[-1]
    return prompt.text, prompt.text


def read_words(request: GenerationRequest) -> TokenizedText:
    """Return the words of a prompt. Their ids are made of their bytes, and can't be turned back.

    Raises InvalidRequest for token ids, or too many words.
    """
    asked = request.prompt
    assert isinstance(asked, Tokenization)  # the caller has seen to it
    if not isinstance(asked.prompt, ChatPrompt | TextPrompt):
        raise InvalidRequest("tokens: The echo engine has words and no token ids.", param="tokens")
    text, _ = texts_of(asked.prompt)
    # By a generator, between whose words other threads may run.
    words = tuple(found[0] for found in islice(WORD.finditer(text), MOST_SHOWN + 1))
    if len(words) > MOST_SHOWN:
        raise too_many_to_show(f"at least {len(words)}")
    ids = tuple(crc32(word.encode(errors="replace")) for word in words)
    return TokenizedText(tokens=ids, spelled=words, text=text)
