"""A sign-in under way: known to the browser that began it, and to nobody else."""

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
    """``state`` ties the callback to the browser, ``nonce`` the ID token to this sign-in, ``verifier`` (PKCE)
    the code to whoever asked for it; ``return_to`` is an allowed page."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str
    return_to: str | None = None

    def __repr__(self) -> str:
        return "Flow(...)"


class Flows:
    """Seals flows for the browser to keep, so that a sign-in that is never finished leaves nothing here.

    Authenticated encryption under keys derived from the signing keys: every process with these keys can open
    it, and nobody can make one.
    """

    def __init__(self, keyring: Keyring, seconds: int) -> None:
        self._keyring = keyring
        self._seconds = seconds
        self._spent: OrderedDict[str, float] = OrderedDict()

    def seal(self, flow: Flow) -> str:
        """What the browser is to keep."""
        return self._fernet().encrypt(msgspec.json.encode(flow)).decode()

    def open(self, sealed: str | None) -> Flow:
        """The flow that the browser kept; raises InvalidRequest."""
        if not sealed:
            raise InvalidRequest(
                "no sign-in was begun in this browser, or too long ago; begin again, and allow cookies",
                code="sign_in_expired",
            )
        try:
            plain = self._fernet().decrypt(sealed.encode(), ttl=self._seconds)
        except (InvalidToken, UnicodeEncodeError):
            raise InvalidRequest("the sign-in took too long; begin again", code="sign_in_expired") from None
        return msgspec.json.decode(plain, type=Flow)

    def spend(self, flow: Flow) -> None:
        """Each flow ends once. A copy of a spent one would fail at the provider too, whose codes are good for
        one use; that another process does not know it is therefore no harm."""
        oldest = time.monotonic() - self._seconds
        while self._spent and (len(self._spent) >= _SPENT_SIZE or next(iter(self._spent.values())) < oldest):
            self._spent.popitem(last=False)
        if flow.state in self._spent:
            raise InvalidRequest("this sign-in is over; begin again", code="sign_in_expired")
        self._spent[flow.state] = time.monotonic()

    def _fernet(self) -> MultiFernet:
        keys = self._keyring.derived(_PURPOSE)
        return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])


def other_sign_in() -> InvalidRequest:
    """The answer to who comes with the answer to another flow."""
    return InvalidRequest(
        "this is not the answer to the sign-in that was begun last in this browser; begin again",
        code="invalid_state",
        param="state",
    )
