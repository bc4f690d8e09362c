"""Finds, links or creates the user for a person whom the provider vouches for, or refuses the person."""

import msgspec
import structlog
from msgspec import UNSET

from jan.audit.acts import Auditor
from jan.errors import Conflict, PermissionDenied
from jan.schema.email_address import ascii_lower, is_email
from jan.settings.sign_in import ANYBODY, SignInSettings
from jan.storage.records import OidcSubject, User, UserChanges
from jan.storage.repositories import Store

log = structlog.get_logger(__name__)

_LONGEST_NAME = 200


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A person as the provider describes them, with ASCII letters of the address in lower case.

    ``domain`` is the organisation that manages the account according to the provider. It is None if the provider
    only verified once that its owner could read mail to the address.
    """

    subject: OidcSubject
    email: str
    name: str
    domain: str | None


class Admission:
    """Applies the configuration's rules of admission to the users in the store."""

    def __init__(self, settings: SignInSettings, store: Store, audit: Auditor) -> None:
        self._settings = settings
        self._store = store
        self._audit = audit
        self._domains = _lower(settings.allowed_domains)
        self._emails = _lower(settings.allowed_emails)
        self._admins = _lower(settings.admins)

    async def admit(self, person: Person) -> User:
        """Return the user for a person. Raises PermissionDenied. A disabled user is returned unchanged."""
        self._check(person)
        user = await self._find(person)
        if user is None:
            user = await self._create(person)
        return user if user.disabled else await self._update(user, person)

    def _check(self, person: Person) -> None:
        """Raise PermissionDenied if a person with this address is not admitted."""
        if not is_email(person.email):
            raise PermissionDenied(
                "The provider sent no usable e-mail address; allowed: ASCII, with a domain of another script in "
                "its A-label form (xn--).",
                code="email_missing",
            )
        everybody = not (self._domains or self._emails) or self._settings.admits_anybody
        named = person.email in self._emails or person.email in self._admins
        if not (everybody or named or person.domain in self._domains):
            raise PermissionDenied(
                "This server does not admit this e-mail address or its domain. "
                "Sign in with another account or ask its administrator.",
                code="domain_not_allowed",
            )

    async def _find(self, person: Person) -> User | None:
        """Find a user by subject, else by address.

        An address may get another owner, a subject never does. By address only accounts are found that nobody has
        signed in to in this way yet.
        """
        user = await self._store.users.find_by_subject(person.subject)
        if user is not None:
            return user
        user = await self._store.users.find_by_email(person.email)
        if user is None or user.oidc == person.subject:  # created a moment ago by a second browser window
            return user
        if user.oidc is not None:
            raise PermissionDenied(
                "The account of this e-mail address belongs to another sign-in. Ask the administrator.",
                code="account_linked_elsewhere",
            )
        # This is safe for two reasons. Only an administrator can have created an account without a subject, and
        # did so for the owner of the address. And the provider says who owns the address now (``domain``), not
        # just who could read its mail once: a former employee keeps such a Google account.
        if person.domain is None:
            raise PermissionDenied(
                "The provider does not manage this e-mail address, so it can't prove whose account this is.",
                code="email_not_authoritative",
            )
        return user

    async def _create(self, person: Person) -> User:
        if not self._settings.create_users:
            raise PermissionDenied("This server has no account for this e-mail address.", code="no_account")
        user = User(
            email=person.email,
            name=person.name[:_LONGEST_NAME],
            role="admin" if self._is_admin(person) else "user",
            oidc=person.subject,
        )
        try:
            await self._store.users.create(user)
        except Conflict:
            # Either a second window of the same person was faster, or the address was taken meanwhile.
            found = await self._find(person)
            if found is None:
                raise
            return found
        log.info("user created by sign-in", user_id=user.id)
        await self._audit.record("user.added", user_id=user.id, target=user.id, role=user.role)
        return user

    async def _update(self, user: User, person: Person) -> User:
        """Update link, name and role to what the provider and the configuration say now."""
        changes = UserChanges(
            name=person.name[:_LONGEST_NAME] if person.name and person.name != user.name else UNSET,
            role="admin" if self._is_admin(person) and user.role != "admin" else UNSET,
            oidc=person.subject if user.oidc is None else UNSET,
        )
        if changes == UserChanges():
            return user
        updated = await self._store.users.update(user.id, changes)
        if changes.oidc is not UNSET:
            await self._audit.record("user.linked", user_id=user.id, target=user.id)
        if changes.role is not UNSET:
            await self._audit.record("user.role_changed", user_id=user.id, target=user.id, role=updated.role)
        return updated

    def _is_admin(self, person: Person) -> bool:
        # Administrators need an address that its organisation manages: the highest role needs the strongest proof.
        return person.domain is not None and person.email in self._admins


def _lower(texts: tuple[str, ...]) -> frozenset[str]:
    return frozenset(ascii_lower(text) for text in texts if text != ANYBODY)
