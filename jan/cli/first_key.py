"""Hands over the first administrator's key, and a link to sign in: on a terminal they are shown, elsewhere they go
to private files."""

import os
import sys
from pathlib import Path

import structlog

from jan.cli.chat import program
from jan.cli.terminal import say
from jan.people.store_keeper import FIRST_ADMIN

log = structlog.get_logger(__name__)

#: The name of the file in the data folder.
KEY_FILE = "admin-key"
LINK_FILE = "start-link"


def hand_over(key: str, data: Path) -> None:
    """Show the key if output is a terminal. Otherwise output may be a log that others read, so write the key to a
    file that only its owner can read (0600), and print the file's name."""
    if sys.stdout.isatty():
        say(f"  Key      {key}")
        say(f"           This key of {FIRST_ADMIN}, the administrator, is shown this once. Another one:")
    else:
        _write(key, data.absolute() / KEY_FILE)
    say(f"           {program()} key add {FIRST_ADMIN} --name NAME")
    sys.stdout.flush()


def hand_over_link(link: str, data: Path) -> None:
    """Show a link that signs the administrator in once, or write it to a file, as ``hand_over`` does the key."""
    if sys.stdout.isatty():
        say(f"  Sign in  {link}")
        say("           This link works once, within ten minutes. Another one:")
    else:
        file = data.absolute() / LINK_FILE
        try:
            _write_private(link, file)
        except OSError as error:
            log.error("link to sign in not written", file=str(file), reason=error.strerror)
            say(f"           A link to sign in can't be written to {file}. Make another one:")
        else:
            say(f"  Sign in  {file}")
            say("           This file has a link that works once, within ten minutes. Another one:")
    say(f"           {program()} user link {FIRST_ADMIN} --url {link.partition('/#')[0]}")
    sys.stdout.flush()


def _write(key: str, file: Path) -> None:
    try:
        _write_private(key, file)
    except OSError as error:
        log.error("administrator's key not written", file=str(file), reason=error.strerror)
        say(f"           The key of {FIRST_ADMIN}, the administrator, can't be written to {file}.")
        say("           Make another one:")
    else:
        log.info("administrator's key written", file=str(file))
        say(f"  Key      {file}")
        say(f"           This file has the key of {FIRST_ADMIN}, the administrator. Take it and delete the file.")
        say("           Another key:")


def _write_private(key: str, file: Path) -> None:
    """Write the file so that it appears complete or not at all, and is never readable by others."""
    partial = file.with_name(f"{file.name}.partial")
    partial.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    try:
        with os.fdopen(os.open(partial, flags, 0o600), "w") as stream:
            stream.write(f"{key}\n")
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
