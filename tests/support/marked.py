"""Compares what a chat template renders with and without marks on the texts of a request."""

import re
from collections.abc import Iterator
from typing import Any

from jan.engine.prompts.chat_template import ChatTemplate
from jan.engine.prompts.segments import MarkedPrompt, SpecialToken, SpecialTokens
from jan.errors import InvalidRequest
from support.chats import prompt
from support.template_conversations import CONVERSATIONS, ClientChat

# The forms in which models write their control tokens.
_FORMS = re.compile(
    r"<\|[\w/ ]+\|>|<｜[^｜<>]+｜>|\[/?[A-Z_]{3,}\]|</?s>|<\w+_of_\w+>|<\|\w+>|<\w+\|>|\]~[bB!]\]|\[e~\["
)


def special_of(source: str) -> SpecialTokens:
    """The control tokens that a template spells, and those that end and begin its prompts."""
    texts = sorted({*_FORMS.findall(source), "<s>", "</s>", "<|im_end|>"})
    return SpecialTokens(SpecialToken(number, text, True) for number, text in enumerate(texts))


def differences(plain: ChatTemplate, marking: ChatTemplate, special: SpecialTokens) -> Iterator[str]:
    """Yield the conversations that marks change, or whose control tokens change with what a question spells.

    Args:
        plain, marking: the same template without marks, and with those of ``special``.
    """
    spelled = " ".join(token.text for token in special.tokens)
    for name, client in CONVERSATIONS.items():
        text = _rendered(plain, client)
        marked = _rendered(marking, client)
        if marked.plain != text.text:
            yield f"{name}: another text"
        elif list(special.split(marked)) != list(special.split(text)):
            yield f"{name}: other tokens"
        asked = [_control(special, _rendered(marking, client, question)) for question in (f"Hi {spelled}.", "Hi.")]
        if asked[0] != asked[1]:
            yield f"{name}: a question spells control tokens"


def _rendered(template: ChatTemplate, client: ClientChat, question: str | None = None) -> MarkedPrompt:
    """Return a conversation's prompt; a refused one is empty. ``question``: what the user says instead."""
    messages = [
        {**message, "content": question} if question and message["role"] == "user" else message
        for message in client.messages
    ]
    options: dict[str, Any] = {
        "documents": client.documents and tuple(client.documents),
        "template_options": client.options,
        "add_generation_prompt": client.add_generation_prompt,
        "continue_final_message": client.continue_final_message,
    }
    try:
        return template.render_chat(prompt(messages, client.tools, **options)).prompt
    except InvalidRequest:
        return MarkedPrompt("")


def _control(special: SpecialTokens, rendered: MarkedPrompt) -> list[int]:
    return [part for part in special.split(rendered) if isinstance(part, int)]
