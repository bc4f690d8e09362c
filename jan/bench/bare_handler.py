"""A Tornado handler that sends a recorded answer and does nothing else.

`python -m jan.bench.bare_handler PORT FILE`.
"""

import asyncio
import sys
from pathlib import Path

from tornado.web import Application, RequestHandler

from jan.bench.recording import load_recording


class BareAnswer(RequestHandler):
    """Answers every request with the recorded bytes."""

    def initialize(self, body: bytes) -> None:
        """Take the recorded answer. Tornado calls this before anything else."""
        self._body = body

    def get(self) -> None:
        """Answer any GET, which shows that the server is ready."""
        self.finish(b"{}")

    def post(self) -> None:
        """Send the recorded answer."""
        self.set_header("Content-Type", "application/json")
        self.finish(self._body)


async def serve(port: int, body: bytes) -> None:
    """Accept connections until the process ends."""
    application = Application([(".*", BareAnswer, {"body": body})], log_function=lambda _handler: None)
    application.listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    whole = load_recording(Path(sys.argv[2])).whole
    asyncio.run(serve(int(sys.argv[1]), whole.partition(b"\r\n\r\n")[2]))
