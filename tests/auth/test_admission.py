"""Who may come in by sign-in, and as which user."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from jan.audit.sealing import Seals
from jan.audit.trail import AuditTrail
from jan.auth.oidc.admission import Admission, Person
from jan.auth.oidc.sign_in import _domain
from jan.errors import PermissionDenied
from jan.settings.sign_in import GOOGLE, SignInSettings
from jan.storage import Store, store_from_url
from jan.storage.records import OidcSubject, User


def person(**changes: Any) -> Person:
    known = {"subject": "1", "email": "ada@example.com", "name": "Ada", "domain": "example.com", **changes}
    return Person(**{**known, "subject": OidcSubject(issuer=GOOGLE, subject=str(known["subject"]))})


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Store]:
    store = store_from_url(f"sqlite:///{folder / 'jan.db'}", timeout=5)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def run(folder: Path, test: Callable[[Store], Awaitable[None]]) -> None:
    async def inside() -> None:
        async with opened(folder) as store:
            await test(store)

    asyncio.run(inside())


def admission_of(settings: SignInSettings, store: Store) -> Admission:
    return Admission(settings, store, AuditTrail(store, Seals(lambda: "key", lambda _kid, _purpose: bytes(32))))


async def refusal(admission: Admission, who: Person) -> str:
    with pytest.raises(PermissionDenied) as refused:
        await admission.admit(who)
    return refused.value.code


def test_a_new_person_becomes_a_user(tmp_path: Path) -> None:
    """The first sign-in makes a user with address, name and subject; a later one finds it by subject, although
    the address has changed, and takes over the name."""

    async def test(store: Store) -> None:
        admission = admission_of(SignInSettings(), store)
        user = await admission.admit(person())
        assert (user.email, user.name, user.role) == ("ada@example.com", "Ada", "user")
        again = await admission.admit(person(email="ada@new.example", name="Ada King"))
        assert (again.id, again.email, again.name) == (user.id, "ada@example.com", "Ada King")

    run(tmp_path, test)


def test_nobody_is_made_a_user_where_that_is_off(tmp_path: Path) -> None:
    """With create_users false only those who have an account come in."""

    async def test(store: Store) -> None:
        admission = admission_of(SignInSettings(create_users=False), store)
        assert await refusal(admission, person()) == "no_account"
        await store.users.create(User(email="ada@example.com"))
        assert (await admission.admit(person())).email == "ada@example.com"

    run(tmp_path, test)


def test_an_account_is_linked_once(tmp_path: Path) -> None:
    """An account that an administrator made is taken over by the owner of its address, and then by nobody
    else."""

    async def test(store: Store) -> None:
        admission = admission_of(SignInSettings(), store)
        made = User(email="Ada@Example.com", name="by an administrator", role="admin")
        await store.users.create(made)
        assert await refusal(admission, person(domain=None)) == "email_not_authoritative"
        linked = await admission.admit(person(name=""))
        assert (linked.id, linked.name, linked.role) == (made.id, made.name, "admin")
        assert linked.oidc == OidcSubject(issuer=GOOGLE, subject="1")
        assert await refusal(admission, person(subject=2)) == "account_linked_elsewhere"

    run(tmp_path, test)


def test_administrators(tmp_path: Path) -> None:
    """An address in ``admins`` comes in without being allowed otherwise and is made an administrator, but not
    if nobody vouches for the address; nobody loses the role by signing in."""

    async def test(store: Store) -> None:
        settings = SignInSettings(admins=("ADA@example.com",), allowed_domains=("other.example",))
        admission = admission_of(settings, store)
        assert (await admission.admit(person(subject=2, domain=None))).role == "user"
        assert (await admission.admit(person(subject=2))).role == "admin"
        assert (await admission_of(SignInSettings(), store).admit(person(subject=2))).role == "admin"

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("settings", "who", "code"),
    [
        (SignInSettings(allowed_domains=("Example.com",)), person(), None),
        (SignInSettings(allowed_domains=("example.com",)), person(domain=None), "domain_not_allowed"),
        (SignInSettings(allowed_domains=("example.com",)), person(domain="x.example"), "domain_not_allowed"),
        (SignInSettings(allowed_emails=("Ada@example.com",)), person(), None),
        (SignInSettings(allowed_emails=("bob@example.com",)), person(), "domain_not_allowed"),
        (SignInSettings(allowed_domains=("*",)), person(domain=None), None),
        (SignInSettings(), person(email=""), "email_missing"),
        (SignInSettings(), person(email="two@at@example.com"), "email_missing"),
    ],
)
def test_who_may_come_in(tmp_path: Path, settings: SignInSettings, who: Person, code: str | None) -> None:
    """By domain only whom the provider counts to that domain; by address; or anyone."""

    async def test(store: Store) -> None:
        admission = admission_of(settings, store)
        if code is None:
            assert (await admission.admit(who)).email == who.email
        else:
            assert await refusal(admission, who) == code

    run(tmp_path, test)


def test_two_windows_at_once(tmp_path: Path) -> None:
    """One person who signs in for the first time in many windows at once becomes one user, in all of them."""

    async def test(store: Store) -> None:
        admission = admission_of(SignInSettings(), store)
        users = await asyncio.gather(*(admission.admit(person()) for _ in range(32)))
        assert len({user.id for user in users}) == 1

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("issuer", "email", "hosted", "domain"),
    [
        (GOOGLE, "ada@example.com", "example.com", "example.com"),
        (GOOGLE, "ada@alias.example", "Example.com", "example.com"),
        (GOOGLE, "ada@example.com", None, None),
        (GOOGLE, "ada@korp.test", "\u212aorp.test", None),
        (GOOGLE, "ada@korp.test", " korp.test", None),
        (GOOGLE, "ada@gmail.com", None, "gmail.com"),
        ("https://id.example.com", "ada@example.com", None, "example.com"),
        ("https://id.example.com", "", None, None),
    ],
)
def test_who_manages_an_address(issuer: str, email: str, hosted: str | None, domain: str | None) -> None:
    """A personal Google account with a company's address does not belong to the company; ``hd`` says who does.
    Another provider is believed about the addresses that it verified."""
    assert _domain(issuer, email, hosted) == domain
