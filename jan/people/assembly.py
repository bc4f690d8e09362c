"""The services for people, made over a store as the configuration says: for the server and the command line."""

from datetime import timedelta
from pathlib import Path

import msgspec

from jan.auth.credentials import Credentials
from jan.auth.keyring import Keyring
from jan.auth.sessions import Sessions
from jan.auth.tokens import TokenSigner
from jan.people.keys import UserKeys
from jan.people.users import Users
from jan.settings import AuthSettings, Settings
from jan.storage.repositories import Store


class People(msgspec.Struct, frozen=True):
    """Users, their keys and sessions; ``credentials`` tells who a caller is, and forgets what these change."""

    users: Users
    keys: UserKeys
    sessions: Sessions
    credentials: Credentials


def make_keyring(settings: Settings) -> Keyring:
    """Name the signing keys in the data folder. They are read by ``load``."""
    return Keyring(Path(settings.data) / "signing-keys", settings.auth.algorithm)


def make_people(settings: AuthSettings, store: Store, keyring: Keyring) -> People:
    """Make the services over a store. Nothing is read from the store or the keyring yet."""
    tokens = TokenSigner(
        keyring,
        issuer=settings.issuer,
        audience=settings.audience,
        lifetime=timedelta(seconds=settings.token_seconds),
        leeway=timedelta(seconds=settings.leeway_seconds),
    )
    credentials = Credentials(store, tokens)
    sessions = Sessions(
        store,
        tokens,
        credentials,
        refresh_grace=timedelta(seconds=settings.refresh_grace_seconds),
        session_lifetime=timedelta(seconds=settings.session_seconds),
    )
    return People(Users(store, credentials), UserKeys(store, credentials), sessions, credentials)
