"""Events that say that a request was accepted, made of what the backend prepared."""

from jan.engine.base import PreparedJob, PreparedRequest, PromptNotes, Started
from jan.engine.runtime.job import Job


def accepted_of(job: Job, prepared: PreparedJob) -> PreparedRequest:
    """Return the reply to a request that is checked and not queued."""
    return PreparedRequest(
        job_id=job.id,
        prompt_tokens=prepared.prompt_tokens,
        limit=prepared.limit,
        prompt_text=prepared.prompt_text,
        notes=_notes_of(prepared),
    )


def started_of(job: Job, prepared: PreparedJob, fingerprint: str) -> Started:
    """Return the first event of a queued request."""
    return Started(
        prompt_tokens=prepared.prompt_tokens,
        prompt_text=prepared.prompt_text,
        prompt_ids=tuple(getattr(prepared, "tokens", ())) if job.request.token_ids else (),
        notes=_notes_of(prepared),
        fingerprint=fingerprint,
    )


def _notes_of(prepared: PreparedJob) -> PromptNotes:
    """Return what a backend left out of a request. Backends that leave out nothing need not say so."""
    notes = getattr(prepared, "notes", None)
    return notes if isinstance(notes, PromptNotes) else PromptNotes()
