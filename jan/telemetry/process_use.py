"""CPU time and memory of processes, as Linux tells them (proc(5))."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Literal

from jan.schema.status import ProcessUse


def use_of(role: Literal["server", "supervisor", "web_loop", "engine"], name: str, pid: int) -> ProcessUse:
    """Return what a process uses, as far as the system tells."""
    seconds, memory = None, None
    with suppress(OSError, ValueError, IndexError):
        # The name of the program, in parentheses, may have blanks and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        memory = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return ProcessUse(role=role, name=name, pid=pid, cpu_seconds=seconds, memory_bytes=memory)
