"""Runs a program of a client: each ability that it has is a function of the server's address and a key.

    play.py PROGRAM URL KEY

Prints a line of JSON for each: the ability, and what its function returned, or how it failed.
"""

import asyncio
import importlib
import inspect
import json
import sys
import traceback

ABILITIES = (
    "chat",
    "stream",
    "tools",
    "structured",
    "responses",
    "responses_stream",
    "messages",
    "messages_stream",
    "embeddings",
    "errors",
)


def main() -> None:
    """Run what the program has."""
    name, url, key = sys.argv[1:]
    program = importlib.import_module(f"programs.{name}")
    for ability in ABILITIES:
        function = getattr(program, ability, None)
        if function is None:
            continue
        line = {"ability": ability}
        try:
            found = function(url, key)
            line["found"] = asyncio.run(found) if inspect.iscoroutine(found) else found
        except Exception:  # noqa: BLE001 - whatever it is, the test shows it
            line["problem"] = traceback.format_exc()[-3000:]
        print("\n" + json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
