"""An echo model for tests of what interrupts answers: it can go on with one, and wait in the middle of one."""

import time
from pathlib import Path

import msgspec

from jan.engine.backends.echo import EchoBackend, EchoOptions
from jan.engine.base import ChatPrompt, GenerationRequest, JobId, Output

#: No answer goes beyond this word before the file of the gate is there.
GATE = "gate"


class CountingOptions(EchoOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``gate``: the path of a file."""

    gate: str = ""


class Counting(EchoBackend):
    """An echo that can continue its answer, as models do: the rest of the words follows."""

    Options = CountingOptions

    def __init__(self, options: CountingOptions) -> None:
        super().__init__(options)
        self._gate = Path(options.gate) if options.gate else None

    def prepare(self, request: GenerationRequest):  # type: ignore[no-untyped-def]  # a private class
        prompt = request.prompt
        if not isinstance(prompt, ChatPrompt) or not prompt.continue_final_message:
            return super().prepare(request)
        *asked, begun = prompt.messages
        plain = msgspec.structs.replace(prompt, messages=tuple(asked), continue_final_message=False)
        rest = msgspec.structs.replace(request, prompt=plain, max_tokens=None)
        job = super().prepare(rest)
        said = str(begun.content).split()
        job.said = len(said)
        assert said == [word.strip() for word in job.words[: job.said]]
        return job

    def step(self) -> list[tuple[JobId, Output]]:
        """Add a word, unless an answer waits at the gate."""
        waits = any((job.next_word or "").strip() == GATE for job in self._jobs.values())
        if waits and self._gate is not None and not self._gate.exists():
            time.sleep(0.01)
            return []
        return super().step()
