"""An endpoint of somebody's own, in a file with the name of our package."""

import greetings
import msgspec

from jan.handler import PUBLIC, Handler, operation


class Greeting(msgspec.Struct):
    """The answer with some words."""

    text: str


class Greet(Handler):
    """An endpoint that greets people."""

    class Options(msgspec.Struct, forbid_unknown_fields=True):
        """Options that say how to greet."""

        greeting: str = "Hello"

    @operation(summary="Greet somebody", access=PUBLIC, response=Greeting)
    async def get(self, name: str) -> Greeting:
        """Greet somebody by their name."""
        return Greeting(greetings.join(self.route_options.greeting, name))
