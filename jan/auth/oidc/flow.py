"""A sign-in that is under way, known only to the browser that began it."""

import base64
import time
from collections import OrderedDict

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from jan.auth.keyring import Keyring
from jan.errors import InvalidRequest

_PURPOSE = b"jan sign-in flow"
_SPENT_SIZE = 10_000


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """The secrets of one sign-in.

    - ``state``: ties the callback to the browser.
    - ``nonce``: ties the ID token to this sign-in.
    - ``verifier``: ties the code to the server that asked for it (PKCE, RFC 7636).
    - ``return_to``: an allowed page.
    """

    state: str
    nonce: str
    verifier: str
    redirect_uri: str
    return_to: str | None = None

    def __repr__(self) -> str:
        return "Flow(...)"


class Flows:
    """Encrypts flows for the browser to keep, so that an unfinished sign-in leaves nothing on the server.

    Uses authenticated encryption with keys derived from the signing keys. Every process with these keys can open a
    flow, and nobody else can make one.
    """

    def __init__(self, keyring: Keyring, seconds: int) -> None:
        self._keyring = keyring
        self._seconds = seconds
        self._spent: OrderedDict[str, float] = OrderedDict()

    def seal(self, flow: Flow) -> str:
        """Encrypt a flow for the browser to keep."""
        return self._fernet().encrypt(msgspec.json.encode(flow)).decode()

    def open(self, sealed: str | None) -> Flow:
        """Decrypt the flow that the browser kept. Raises InvalidRequest."""
        if not sealed:
            raise InvalidRequest(
                "No sign-in was begun in this browser, or too long ago. Begin again, and allow cookies.",
                code="sign_in_expired",
            )
        try:
            plain = self._fernet().decrypt(sealed.encode(), ttl=self._seconds)
        except (InvalidToken, UnicodeEncodeError):
            raise InvalidRequest("The sign-in took too long. Begin again.", code="sign_in_expired") from None
        return msgspec.json.decode(plain, type=Flow)

    def spend(self, flow: Flow) -> None:
        """End a flow, so that it can't be used again. Raises InvalidRequest if it already ended.

        Another process does not know this. That is harmless, because the provider accepts each code only once.
        """
        oldest = time.monotonic() - self._seconds
        while self._spent and (len(self._spent) >= _SPENT_SIZE or next(iter(self._spent.values())) < oldest):
            self._spent.popitem(last=False)
        if flow.state in self._spent:
            raise InvalidRequest("This sign-in is over. Begin again.", code="sign_in_expired")
        self._spent[flow.state] = time.monotonic()

    def _fernet(self) -> MultiFernet:
        keys = self._keyring.derived(_PURPOSE)
        return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])


def other_sign_in() -> InvalidRequest:
    """Make the error for an answer that belongs to another flow."""
    return InvalidRequest(
        "This is not the answer to the sign-in that was begun last in this browser. Begin again.",
        code="invalid_state",
        param="state",
    )
