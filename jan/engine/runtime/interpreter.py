"""Set up Python for a model's thread beside an event loop."""

import gc
import sys

# How long a thread keeps Python's lock when another wants it. With Python's default of 5 ms, a model's thread may
# wait for the event loop longer than one of its steps takes.
_SWITCH_SECONDS = 0.0001
# New objects between two garbage collections. Requests make no reference cycles, so they can be rare. A streamed
# request has about 160 objects, so those of 256 streams that begin at once are not scanned.
_GARBAGE_THRESHOLD = 50_000


def tune_interpreter() -> None:
    """Set the sharing of Python's lock and the garbage collection for a model's thread beside the event loop."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.set_threshold(_GARBAGE_THRESHOLD, *gc.get_threshold()[1:])
