"""POST /render: Markdown as blocks of safe HTML."""

from handlers.texts.bounded_rendering import rendered_in_turn
from jan.errors import InvalidRequest
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.rendered_texts import RenderedText, RenderedTexts, RenderRequest
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE

_MOST_TEXTS = 100
_LONGEST_TEXT = 256 * 1024
_LONGEST_TOGETHER = 1024 * 1024


class Rendering(Handler):
    """Markdown as HTML that a page can show as it is."""

    @operation(
        summary="Turn Markdown into safe HTML",
        access=ANONYMOUS_OR_INFERENCE,
        tag="inference",
        request=RenderRequest,
        response=RenderedTexts,
        examples=(
            Example(summary="A heading and a formula", body={"text": "# Area\n\nIt is $a^2$."}),
            Example(summary="Two texts", body={"text": ["*One*", "- two"]}),
        ),
    )
    async def post(self, body: RenderRequest) -> RenderedTexts:
        """Return the blocks of each text: CommonMark with tables, strikethrough, tasks, footnotes and formulas.

        Of HTML, only `<br>`, `<sub>`, `<sup>`, `<kbd>`, `<mark>` and `<u>` are elements; the rest is shown as
        text. Formulas are MathML with the TeX in `data-tex`, code has classes for its colours, images are links.
        A text that takes long to read, or is nested deeply, is shown as it is written, in `<p class="plain">`.
        """
        texts = [body.text] if isinstance(body.text, str) else body.text
        _check(texts, alone=isinstance(body.text, str))
        rendered = await rendered_in_turn(self.services.renderer, texts)
        return RenderedTexts(data=[RenderedText(index=at, blocks=blocks) for at, blocks in enumerate(rendered)])


def _check(texts: list[str], *, alone: bool) -> None:
    """Raise InvalidRequest for too many texts, or too long ones."""
    if len(texts) > _MOST_TEXTS:
        message = f"text: It has {len(texts)} texts; allowed: at most {_MOST_TEXTS}."
        raise InvalidRequest(message, param="text")
    for index, text in enumerate(texts):
        if len(text) > _LONGEST_TEXT:
            name = "text" if alone else f"text[{index}]"
            message = f"{name}: It has {len(text)} characters; allowed: at most {_LONGEST_TEXT}."
            raise InvalidRequest(message, param=name)
    if (together := sum(map(len, texts))) > _LONGEST_TOGETHER:
        message = f"text: Its texts have {together} characters together; allowed: at most {_LONGEST_TOGETHER}."
        raise InvalidRequest(message, param="text")
