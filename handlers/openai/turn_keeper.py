"""Stores the question of a turn once the engine has accepted it, and the answer while it is generated."""

from functools import partial

from jan.errors import JanError
from jan.handler import CollectedAnswer, CollectedAnswers, KeptAnswer, TokenCount, Turn
from jan.schema.sampling import Usage
from jan.schema.stored_items import JsonObject
from jan.storage.records import AnswerProgress


class TurnKeeper:
    """The common part of the keepers of all APIs.

    ``repeatable``: the request can be sent again as it is, and its messages are still stored once. ``answer_id``:
    the id of the stored answer, if it is chosen already.
    """

    repeatable = False
    answer_id: str | None = None

    def __init__(self, turn: Turn, model: str) -> None:
        self.turn = turn
        self._model = model
        self._answer: CollectedAnswer | None = None
        self._kept: KeptAnswer | None = None

    def progress_of(self, answer: CollectedAnswer, usage: Usage | None) -> AnswerProgress:
        """Make the store's form of the answer so far, or of the complete answer if ``usage`` is given."""
        raise NotImplementedError

    def placed(self, kept: KeptAnswer) -> None:
        """Note where the answer is stored."""

    def shown(self) -> JsonObject | None:
        """Return what an API needs to show the answer again, if it needs anything."""
        return None

    async def begin(self, answers: CollectedAnswers) -> None:
        """Store the question and the beginning of the answer."""
        self._answer = answers.answers[0]
        progress = partial(self.progress_of, self._answer, None)
        kept = self.turn.answer(self._model, progress, self.shown(), self.answer_id)
        await kept.begin()
        self._kept = kept
        self.placed(kept)

    async def failed(self, error: JanError) -> None:
        """Say which message can be answered again, and that SDKs must not store it twice by a retry.

        Returns once the answer is stored as far as it is, if the store is there.
        """
        headers = {"X-Jan-Parent-Message-Id": self.turn.parent_id}
        if not self.repeatable:
            headers["x-should-retry"] = "false"
        error.headers = {**error.headers, **headers}
        kept = self._kept
        assert kept is not None  # it has begun
        self.leave(error)
        await kept.ended()

    async def finish(self, count: TokenCount) -> None:
        """Store the complete answer."""
        assert self._kept is not None  # it has begun
        assert self._answer is not None
        await self._kept.finish(self.progress_of(self._answer, count.usage))

    def leave(self, error: JanError | None = None) -> None:
        """Store the answer as far as it is, unless it was finished, and let go of it, which leads back here.

        ``error``: the reason why it goes no further; None if the client left.
        """
        kept, self._kept = self._kept, None
        if kept is not None and self._answer is not None:
            kept.leave("partial" if _has_begun(self._answer) else "failed", error)


def _has_begun(answer: CollectedAnswer) -> bool:
    """Return True if an answer has its first token, be it of its reasoning."""
    return bool(answer.text or answer.reasoning or answer.calls)
