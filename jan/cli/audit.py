"""``jan audit``: lists what was done, and checks that nobody changed the record of it."""

import sys
from datetime import UTC, datetime
from typing import get_args

import click
import msgspec

from jan.audit.acts import Act
from jan.audit.sealing import Head, parse_head
from jan.audit.verification import Broken, Verified
from jan.cli.store_context import StoreContext, store_group
from jan.cli.terminal import say
from jan.people.assembly import People
from jan.schema.plain_text import printable
from jan.storage.audit import AuditEntry, AuditFilter

audit = store_group("audit", "List what was done, and check that the record of it is whole.")

_PAGE = 500


def _time(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """Parse a time in ISO 8601; one without an offset is in UTC."""
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        allowed = "2026-05-01 or 2026-05-01T12:00:00+02:00"
        raise click.BadParameter(f"'{value}' is no time; allowed: {allowed}.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@audit.command("list")
@click.option("--user", "user_id", help="Only what concerns the account of this user id.")
@click.option("--actor", help="Only acts of this user id, of 'command_line' or of 'server'.")
@click.option("--act", type=click.Choice(get_args(Act)), metavar="ACT", help="Only this act, such as key.made.")
@click.option("--since", callback=_time, metavar="TIME", help="Only what was done since this time.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Entries at most.")
@click.option("--json", "as_json", is_flag=True, help="Print whole entries, one JSON object a line.")
@click.pass_obj
def list_audit(
    context: StoreContext,
    user_id: str | None,
    actor: str | None,
    act: str | None,
    since: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List entries, the newest first: time, actor, act, target, address, and what else is known."""
    wanted = AuditFilter(user_id=user_id, actor=actor, act=act)

    async def load(people: People) -> list[AuditEntry]:
        found: list[AuditEntry] = []
        cursor: str | None = None
        while len(found) < limit:
            size = min(_PAGE, limit - len(found))
            page = await people.audit.page(limit=size, cursor=cursor, wanted=wanted)
            recent = [entry for entry in page.items if since is None or entry.at >= since]
            found += recent
            cursor = page.next_cursor
            if cursor is None or len(recent) < len(page.items):
                break
        return found

    for entry in context.run(load):
        say(msgspec.json.encode(entry).decode() if as_json else _line(entry))


def _line(entry: AuditEntry) -> str:
    details = {**entry.details, **({"user": entry.user_id} if entry.user_id not in (None, entry.target) else {})}
    more = [f"x{entry.count}"] if entry.count > 1 else []
    more += [f"{name}={value}" for name, value in details.items()]
    columns = [
        f"{entry.at:%Y-%m-%dT%H:%M:%S.}{entry.at.microsecond // 1000:03d}Z",
        entry.actor or "-",
        entry.act,
        entry.target or "-",
        entry.address or "-",
        " ".join(more),
    ]
    return printable("  ".join(columns).rstrip())


@audit.command("verify")
@click.option("--head", "heads", multiple=True, metavar="HEAD", help="A head from the log, which must be there.")
@click.pass_obj
def verify_audit(context: StoreContext, heads: tuple[str, ...]) -> None:
    """Check every entry against its seal and its chain. Names the first one that was changed, removed, moved or
    inserted, and then exits with code 1."""
    try:
        known = [parse_head(text) for text in heads]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--head") from None
    found = context.run(lambda people: _verify(people, known))
    if isinstance(found, Broken):
        say(f"jan: {printable(str(found))}", err=True)
        sys.exit(1)
    say(f"{found.entries} entries in {found.chains} chains are whole")


async def _verify(people: People, known: list[Head]) -> Verified | Broken:
    try:
        return await people.audit.verify(known)
    except Broken as broken:
        return broken
