"""What the two completion endpoints share: from wire parameters to engine requests, and counting usage."""

from jan.engine.base import Finished, Sampling
from jan.errors import InvalidRequest
from jan.schema.sampling import PromptTokensDetails, SamplingFields, Usage


def sampling_of(body: SamplingFields, choice: int) -> Sampling:
    """The sampling parameters of one choice; with a seed each choice has its own, still reproducible."""
    chosen = {
        name: value for name in Sampling.__struct_fields__ if (value := getattr(body, name, None)) is not None
    }
    if body.seed is not None:
        chosen["seed"] = body.seed + choice
    return Sampling(**chosen)


def stop_of(body: SamplingFields) -> tuple[str, ...]:
    """The stop strings as a tuple."""
    if body.stop is None:
        return ()
    return (body.stop,) if isinstance(body.stop, str) else tuple(body.stop)


def wants_usage(body: SamplingFields) -> bool:
    """Whether a stream ends with a usage chunk; raises InvalidRequest for options without a stream."""
    if body.stream_options is not None and not body.stream:
        raise InvalidRequest("stream_options may only be given when stream is true", param="stream_options")
    return body.stream_options is not None and body.stream_options.include_usage


class UsageCounter:
    """Adds up the token counts of a request's choices. Choices of one prompt count its tokens once."""

    def __init__(self, choices_per_prompt: int) -> None:
        self._per_prompt = choices_per_prompt
        self._prompt = self._completion = self._cached = 0

    def add(self, index: int, event: Finished) -> None:
        """A choice came to its end."""
        self._completion += event.completion_tokens
        if index % self._per_prompt == 0:
            self._prompt += event.prompt_tokens
            self._cached += event.cached_tokens

    @property
    def usage(self) -> Usage:
        """The sum."""
        return Usage(
            prompt_tokens=self._prompt,
            completion_tokens=self._completion,
            total_tokens=self._prompt + self._completion,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=self._cached),
        )
