"""``jan user``, ``jan key`` and ``jan store``: administration, with or without a running server."""

import os
import re
from pathlib import Path

import click
import msgspec
from msgspec import UNSET, UnsetType

from jan.cli.store_context import StoreContext, store_group
from jan.cli.terminal import say
from jan.errors import JanError, NotFound
from jan.idempotency.ids import IdSource
from jan.people.assembly import People
from jan.people.keys import parse_scopes
from jan.people.quotas import Quotas
from jan.schema.email_address import EMAILS_ALLOWED, is_email
from jan.schema.limits import TokenBudget, Tokens
from jan.schema.plain_text import NAME, SENTENCES, printable
from jan.schema.usage import QuotaStanding
from jan.storage import Store
from jan.storage.records import ApiKey, User, UserChanges, now

user = store_group("user", "Add, list, disable, enable and delete users; give them sessions and budgets.")
key = store_group("key", "Add, list and revoke API keys.")
store = store_group("store", "Move everything from one store to another.")


async def _find(people: People, email: str) -> User:
    found = await people.users.find_by_email(email)
    if found is None:
        raise NotFound(f"There is no user {email}. `jan user list` shows all.")
    return found


# --- users ----------------------------------------------------------------------------------------------


def _name(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Check a name. The default of an option without one is ""."""
    # Python writes bytes of an argument that are not UTF-8 as halves of characters (PEP 383).
    if value and (re.search(NAME, value) is None or re.search(r"[\ud800-\udfff]", value)):
        raise click.BadParameter(SENTENCES[NAME])
    return value


@user.command("add")
@click.argument("email")
@click.option("--name", default="", callback=_name, help="Display name.")
@click.option("--admin", is_flag=True, help="Make an administrator.")
@click.pass_obj
def add_user(context: StoreContext, email: str, name: str, admin: bool) -> None:
    """Add a user and print the id."""
    if not is_email(email):
        raise click.BadParameter(f"'{printable(email)}' is not an e-mail address; allowed: {EMAILS_ALLOWED}.")
    new = User(email=email, name=name, role="admin" if admin else "user")
    context.run(lambda people: people.users.add(new, IdSource()), creates=True)
    say(new.id)


@user.command("list")
@click.pass_obj
def list_users(context: StoreContext) -> None:
    """List all users with their state."""
    for found in context.run(lambda people: people.users.all()):
        state = "disabled" if found.disabled else "enabled"
        say(f"{found.id}  {found.role:5}  {state:8}  {printable(found.email)}  {printable(found.name)}".rstrip())


def _set_disabled(context: StoreContext, email: str, disabled: bool) -> None:
    async def change(people: People) -> None:
        await people.users.update((await _find(people, email)).id, UserChanges(disabled=disabled))

    context.run(change)
    say(f"{email} is {'disabled' if disabled else 'enabled'}")


@user.command("disable")
@click.argument("email")
@click.pass_obj
def disable_user(context: StoreContext, email: str) -> None:
    """Refuse a user's keys and tokens. A running server does so within a second."""
    _set_disabled(context, email, True)


@user.command("enable")
@click.argument("email")
@click.pass_obj
def enable_user(context: StoreContext, email: str) -> None:
    """Accept a disabled user's keys and tokens again."""
    _set_disabled(context, email, False)


@user.command("token")
@click.argument("email")
@click.pass_obj
def user_token(context: StoreContext, email: str) -> None:
    """Begin a session for a user. Prints only its token on standard output."""

    async def sign_in(people: People) -> str:
        return (await people.sessions.sign_in(await _find(people, email))).token

    say(context.run(sign_in))


@user.command("link")
@click.argument("email")
@click.option("--url", default="", help="The page's address, if the configuration does not have it.")
@click.pass_obj
def user_link(context: StoreContext, email: str, url: str) -> None:
    """Make a link that signs a user in on the web page, once, within ten minutes. Prints only the link on standard
    output."""
    page = context.page_url(url)

    async def make(people: People) -> str:
        return await people.browsers.make_link(await _find(people, email))

    say(f"{page}/#start={context.run(make)}")


@user.command("delete")
@click.argument("email")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete_user(context: StoreContext, email: str, yes: bool) -> None:
    """Delete a user with all that is theirs. A running server refuses them within a second."""

    async def delete(people: People) -> None:
        await people.deletion.delete((await _find(people, email)).id)

    context.run(lambda people: _find(people, email))
    if not yes:
        click.confirm(f"Delete {printable(email)} and all that is theirs? This can't be undone.", abort=True)
    context.run(delete)
    say(f"{email} is deleted")


def _tokens(context: click.Context, parameter: click.Parameter, value: str | None) -> int | UnsetType | None:
    """Parse a number of tokens: None for 'default', UNSET if the option is not given."""
    if value is None:
        return UNSET
    if value == "default":
        return None
    try:
        return msgspec.convert(value, Tokens, strict=False)
    except msgspec.ValidationError:
        raise click.BadParameter(f"'{value}' is not a budget; allowed: a number from 1, or default.") from None


@user.command("budget")
@click.argument("email")
@click.option("--tokens-per-minute", callback=_tokens, help="A number, or 'default' for the configured budget.")
@click.option("--tokens-per-day", callback=_tokens, help="A number, or 'default' for the configured budget.")
@click.pass_obj
def user_budget(
    context: StoreContext,
    email: str,
    tokens_per_minute: int | UnsetType | None,
    tokens_per_day: int | UnsetType | None,
) -> None:
    """Give a user a token budget; a running server follows within a second. Without options: show it."""

    async def change(people: People) -> User:
        changes = UserChanges(tokens_per_minute=tokens_per_minute, tokens_per_day=tokens_per_day)
        return await people.users.update((await _find(people, email)).id, changes)

    changed = context.run(change)
    minute, day = changed.tokens_per_minute or "default", changed.tokens_per_day or "default"
    say(f"{email}: tokens per minute: {minute}, per day: {day}")


@user.command("quota")
@click.argument("email")
@click.pass_obj
def user_quota(context: StoreContext, email: str) -> None:
    """Show how much a user stores, of how much the configuration allows."""

    async def look(people: People, quotas: Quotas) -> tuple[QuotaStanding, ...]:
        return await quotas.standings((await _find(people, email)).id)

    for one in context.run_with_quotas(look):
        say(f"{one.name:13}  {one.used} of {'unlimited' if one.limit is None else one.limit}")


# --- keys -----------------------------------------------------------------------------------------------


@key.command("add")
@click.argument("email")
@click.option("--name", required=True, callback=_name, help="What the key is used for.")
@click.option(
    "--permissions",
    default="read,write,inference",
    show_default=True,
    help="Comma-separated; also: keys (to manage the user's keys), admin.",
)
@click.option("--tokens-per-minute", type=click.IntRange(1), help="Budget of the key; default: as configured.")
@click.option("--tokens-per-day", type=click.IntRange(1))
@click.pass_obj
def add_key(
    context: StoreContext,
    email: str,
    name: str,
    permissions: str,
    tokens_per_minute: int | None,
    tokens_per_day: int | None,
) -> None:
    """Create a key for a user. Prints only the key on standard output."""
    try:
        scopes = parse_scopes([part.strip() for part in permissions.split(",") if part.strip()])
    except ValueError as error:
        raise click.BadParameter(str(error)) from error

    async def create(people: People) -> str:
        budget = TokenBudget(tokens_per_minute=tokens_per_minute, tokens_per_day=tokens_per_day)
        owner = await _find(people, email)
        return (await people.keys.create(owner.id, name, scopes, budget=budget)).secret

    say(context.run(create))


@key.command("list")
@click.argument("email")
@click.pass_obj
def list_keys(context: StoreContext, email: str) -> None:
    """List a user's keys with their state."""

    async def load(people: People) -> list[ApiKey]:
        return await people.keys.all((await _find(people, email)).id)

    for found in context.run(load):
        state = "live" if found.is_live(now()) else "revoked" if found.revoked_at else "expired"
        maker = f"  made by {found.created_by}" if found.created_by else ""
        name = printable(found.name) + maker
        say(f"{found.id}  {found.prefix}...  {state:7}  {','.join(found.permissions)}  {name}")


@key.command("revoke")
@click.argument("key_id")
@click.option("--cascade", is_flag=True, help="Revoke the keys that it made, and those that they made, too.")
@click.pass_obj
def revoke_key(context: StoreContext, key_id: str, cascade: bool) -> None:
    """Revoke a key. A running server follows within a second."""

    async def revoke(people: People) -> None:
        found = await people.keys.find(key_id)
        if found is None:
            raise NotFound(f"There is no key {key_id}. `jan key list EMAIL` shows a user's keys.")
        await people.keys.revoke(found.user_id, key_id, cascade=cascade)

    context.run(revoke)
    say(f"{key_id} is revoked")


# --- the whole store ------------------------------------------------------------------------------------


@store.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_obj
def export_file(context: StoreContext, file: Path) -> None:
    """Write everything to FILE as JSON lines. Only you can read it, because it holds people's texts."""
    from jan.storage.transfer import export_store

    async def export(store: Store, people: People) -> int:
        await people.audit.record("store.exported")  # first, so that nothing leaves without an entry
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as out:
                count = await export_store(store, out)
                out.flush()
                os.fsync(out.fileno())
        except (JanError, OSError):
            os.unlink(file)  # an incomplete file is useless and would block the next attempt
            raise
        return count

    if file.exists():
        raise click.BadParameter(f"{file} already exists. Choose another name.")
    say(f"{context.run_on_store(export)} records written to {file}")


@store.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.pass_obj
def import_file(context: StoreContext, file: Path) -> None:
    """Add everything from FILE. After an interruption, run it again."""
    from jan.storage.transfer import import_store

    async def load(store: Store, people: People) -> int:
        added = await import_store(store, file)
        await people.audit.record("store.imported", records=str(added))
        return added

    count = context.run_on_store(load, creates=True)
    say(f"{count} records read from {file}")
