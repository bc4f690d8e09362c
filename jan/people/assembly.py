"""The services for people, made over a store as the configuration says: for the server and the command line."""

import hmac
from datetime import timedelta
from pathlib import Path

import msgspec

from jan.audit.sealing import Seals
from jan.audit.trail import AuditTrail
from jan.auth.browser_sessions import BrowserSessions
from jan.auth.credentials import Credentials
from jan.auth.keyring import Keyring
from jan.auth.sessions import Sessions
from jan.auth.tokens import TokenSigner
from jan.people.keys import UserKeys
from jan.people.user_deletion import UserDeletion
from jan.people.users import Users
from jan.settings import AuthSettings, Settings
from jan.storage import store_from_url
from jan.storage.repositories import Store
from jan.telemetry.client_addresses import ClientAddresses

_CONFIGURATION = b"jan hash of the configuration"


class People(msgspec.Struct, frozen=True):
    """Users, their keys and sessions; ``credentials`` tells who a caller is, and forgets what these change.

    ``audit`` records what they change, and is closed before the store.
    """

    users: Users
    keys: UserKeys
    sessions: Sessions
    browsers: BrowserSessions
    deletion: UserDeletion
    credentials: Credentials
    audit: AuditTrail


def make_store(settings: Settings) -> Store:
    """Make the server's store, which enforces the quotas of users. Raises ConfigurationError."""
    timeout = settings.storage.timeout_seconds
    return store_from_url(settings.storage_url, timeout=timeout, quota=settings.limits.quota)


def make_keyring(settings: Settings) -> Keyring:
    """Name the signing keys in the data folder. They are read by ``load``."""
    return Keyring(Path(settings.data) / "signing-keys", settings.auth.algorithm)


def make_seals(keyring: Keyring) -> Seals:
    """Make what seals and checks the audit with keys derived from the signing keys."""
    return Seals(lambda: keyring.signing.kid, keyring.derived_from)


def make_audit(settings: Settings, store: Store, keyring: Keyring, addresses: ClientAddresses) -> AuditTrail:
    """Make the audit of a server over a store."""
    return AuditTrail(
        store,
        make_seals(keyring),
        shown=addresses.shown,
        keep_days=settings.audit.keep_days,
        logged=True,
    )


def configuration_hash(settings: Settings, keyring: Keyring) -> str:
    """Return what shows in the audit if a configuration changed. It is keyed, because settings hold secrets."""
    content = msgspec.json.encode(settings, enc_hook=repr, order="deterministic")
    return hmac.digest(keyring.derived(_CONFIGURATION)[0], content, "sha256").hex()


def make_people(settings: AuthSettings, store: Store, keyring: Keyring, audit: AuditTrail | None = None) -> People:
    """Make the services over a store. Nothing is read from the store or the keyring yet.

    Without ``audit`` they get one that logs nothing, as the command line needs it.
    """
    audit = audit or AuditTrail(store, make_seals(keyring))
    tokens = TokenSigner(
        keyring,
        issuer=settings.issuer,
        audience=settings.audience,
        lifetime=timedelta(seconds=settings.token_seconds),
        leeway=timedelta(seconds=settings.leeway_seconds),
    )
    idle = timedelta(seconds=settings.token_seconds + settings.refresh_grace_seconds)
    credentials = Credentials(store, tokens, idle)
    sessions = Sessions(
        store,
        tokens,
        credentials,
        audit,
        refresh_grace=timedelta(seconds=settings.refresh_grace_seconds),
        session_lifetime=timedelta(seconds=settings.session_seconds),
    )
    users, keys = Users(store, credentials, audit), UserKeys(store, credentials, audit)
    deletion = UserDeletion(store, users, credentials, audit)
    browsers = BrowserSessions(store, credentials, sessions, audit, idle)
    return People(users, keys, sessions, browsers, deletion, credentials, audit)
