"""What goes wrong while something is measured."""


class BenchError(Exception):
    """A measurement that can't be made: a peer that can't be installed, a server that does not start or answers
    wrongly. The message is one line; a peer's only leaves it out."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
