"""From somebody whom the provider vouches for to a user here: found, linked, made, or turned away."""

import re

import msgspec
import structlog
from msgspec import UNSET

from jan.errors import Conflict, PermissionDenied
from jan.settings.sign_in import ANYBODY, SignInSettings
from jan.storage.records import OidcSubject, User, UserChanges
from jan.storage.repositories import Store

log = structlog.get_logger(__name__)

_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")
_LONGEST_NAME = 200


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody as the provider knows them.

    ``domain``: the organisation that the provider says the account belongs to; None if it only says that
    the address could be read by its owner once.
    """

    subject: OidcSubject
    email: str
    name: str
    domain: str | None


class Admission:
    """The configuration's rules over the store's users."""

    def __init__(self, settings: SignInSettings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._domains = _lower(settings.allowed_domains)
        self._emails = _lower(settings.allowed_emails)
        self._admins = _lower(settings.admins)

    async def admit(self, person: Person) -> User:
        """The user who this is; raises PermissionDenied. A disabled user is returned unchanged."""
        self._check(person)
        user = await self._find(person)
        if user is None:
            user = await self._create(person)
        return user if user.disabled else await self._update(user, person)

    def _check(self, person: Person) -> None:
        """Whether somebody with this address may come in at all."""
        if _EMAIL.fullmatch(person.email) is None:
            raise PermissionDenied("the provider gave no usable e-mail address", code="email_missing")
        everybody = not (self._domains or self._emails) or self._settings.admits_anybody
        named = person.email in self._emails or person.email in self._admins
        if not (everybody or named or person.domain in self._domains):
            raise PermissionDenied(
                "this server does not admit this e-mail address or its domain; "
                "sign in with another account or ask its administrator",
                code="domain_not_allowed",
            )

    async def _find(self, person: Person) -> User | None:
        """By subject: an address may get another owner, a subject never does. By address only an account that
        nobody signed in to in this way so far."""
        user = await self._store.users.find_by_subject(person.subject)
        if user is not None:
            return user
        user = await self._store.users.find_by_email(person.email)
        if user is None or user.oidc == person.subject:  # made this moment, in another window
            return user
        if user.oidc is not None:
            raise PermissionDenied(
                "the account of this e-mail address belongs to another sign-in; ask the administrator",
                code="account_linked_elsewhere",
            )
        # Safe, because only an administrator can have made an account without a subject, and did it for the
        # owner of the address; and because the provider says who owns the address now (``domain``), not just
        # who could read its mail once: a former employee keeps such an account of Google's.
        if person.domain is None:
            raise PermissionDenied(
                "the provider does not manage this e-mail address, so it can't prove whose account this is",
                code="email_not_authoritative",
            )
        return user

    async def _create(self, person: Person) -> User:
        if not self._settings.create_users:
            raise PermissionDenied("there is no account here for this e-mail address", code="no_account")
        user = User(
            email=person.email,
            name=person.name[:_LONGEST_NAME],
            role="admin" if self._is_admin(person) else "user",
            oidc=person.subject,
        )
        try:
            await self._store.users.create(user)
        except Conflict:
            # The same person in another window was quicker; or the address was taken meanwhile.
            found = await self._find(person)
            if found is None:
                raise
            return found
        log.info("user created by sign-in", user_id=user.id)
        return user

    async def _update(self, user: User, person: Person) -> User:
        """Link, name and role as the provider and the configuration have them now."""
        changes = UserChanges(
            name=person.name[:_LONGEST_NAME] if person.name and person.name != user.name else UNSET,
            role="admin" if self._is_admin(person) and user.role != "admin" else UNSET,
            oidc=person.subject if user.oidc is None else UNSET,
        )
        if changes == UserChanges():
            return user
        return await self._store.users.update(user.id, changes)

    def _is_admin(self, person: Person) -> bool:
        # By an address that its organisation manages: the most that a sign-in can give needs the most proof.
        return person.domain is not None and person.email in self._admins


def _lower(texts: tuple[str, ...]) -> frozenset[str]:
    return frozenset(text.strip().lower() for text in texts if text != ANYBODY)
