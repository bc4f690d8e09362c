"""The provider's answer that there is no sign-in, as an exception."""


class ProviderRefused(Exception):
    """The provider answered with an error code. ``name`` is safe to repeat."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name
