"""End this process together with its parent, however the parent ends, and let only the parent end it."""

import ctypes
import os
import signal
import sys

# From <linux/prctl.h>: the signal that a process gets when the thread that started it ends.
_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Have the system kill this process when its parent dies, even while a library holds Python's lock.

    Elsewhere than on Linux, the end of standard input must do.
    """
    leave_signals()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(0)


def leave_signals() -> None:
    """Leave the signals to the parent that a supervisor sends to the whole service: answers may finish first."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
