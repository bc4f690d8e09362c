"""What may come out of a target besides its result: refusals that a client can read."""

import msgspec

from jan.errors import JanError, envelope_of, status_of


def check_refusal(error: JanError, *statuses: int) -> None:
    """Check that an error blames the client, or has one of these statuses, and that it can be sent."""
    status = status_of(type(error))
    assert 400 <= status < 500 or status in statuses, (status, error.message)
    msgspec.json.encode(envelope_of(error))
    assert error.message.strip(), "An error says nothing."
    for name, value in error.headers.items():
        assert f"{name}{value}".isprintable(), (name, value)
