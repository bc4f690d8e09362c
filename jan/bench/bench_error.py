"""The error of a measurement."""


class BenchError(Exception):
    """A measurement that cannot be made: a peer cannot be installed, a server does not start or answers wrongly.

    The message is one line. A peer that raises it is left out of the report, and the others are still measured.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
