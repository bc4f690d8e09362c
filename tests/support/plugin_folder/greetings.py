"""A module beside the configuration that the endpoint imports."""


def join(greeting: str, name: str) -> str:
    """Put a greeting together."""
    return f"{greeting}, {name}!"
