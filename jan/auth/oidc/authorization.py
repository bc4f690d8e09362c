"""The OAuth half of a sign-in (RFC 6749, RFC 7636), by oauthlib. Imported when somebody signs in: it takes long to
import, and most servers never need it."""

import re
from collections.abc import Sequence
from typing import Any

from oauthlib.oauth2 import MismatchingStateError, MissingCodeError, OAuth2Error, WebApplicationClient

from jan.auth.oidc.flow import Flow, other_sign_in
from jan.auth.oidc.provider import ProviderRefused
from jan.errors import InvalidRequest

_VERIFIER_LENGTH = 64
_ERROR_NAME = re.compile(r"[a-z_]{1,64}")


class Authorization:
    """What one sign-in sends the provider, and what comes back."""

    def __init__(self, client_id: str) -> None:
        self._client = WebApplicationClient(client_id)

    def new_verifier(self) -> str:
        """A secret that the code is bound to."""
        verifier: str = self._client.create_code_verifier(_VERIFIER_LENGTH)
        return verifier

    def url(self, endpoint: str, flow: Flow, scopes: Sequence[str]) -> str:
        """Where the browser is sent."""
        # oauthlib demands TLS, from which loopback is excepted here; so it is given the rest of the URL.
        scheme, _, rest = endpoint.partition(":")
        secure: str = self._client.prepare_request_uri(
            f"https:{rest}",
            redirect_uri=flow.redirect_uri,
            scope=list(scopes),
            state=flow.state,
            code_challenge=self._client.create_code_challenge(flow.verifier, "S256"),
            code_challenge_method="S256",
            nonce=flow.nonce,
        )
        return scheme + secure.removeprefix("https")

    def answer(self, query: str, flow: Flow) -> dict[str, Any]:
        """A callback's query, which has a ``code``; raises InvalidRequest, ProviderRefused."""
        try:
            # Of the URL oauthlib reads the query only; the rest satisfies its demand for TLS.
            answer: dict[str, Any] = self._client.parse_request_uri_response(
                f"https://callback/?{query}", state=flow.state
            )
        except MismatchingStateError:
            raise other_sign_in() from None
        except MissingCodeError:
            raise InvalidRequest("the provider sent no code", code="missing_code", param="code") from None
        except OAuth2Error as error:
            raise ProviderRefused(_name_of(error)) from None
        return answer

    def token_request(self, flow: Flow, code: str, client_secret: str | None) -> str:
        """The body that exchanges a code."""
        body: str = self._client.prepare_request_body(
            code=code, redirect_uri=flow.redirect_uri, code_verifier=flow.verifier, client_secret=client_secret
        )
        return body

    def check_token_answer(self, answer: bytes) -> None:
        """Raises ProviderRefused for one that is no token."""
        try:
            self._client.parse_request_body_response(answer.decode())
        except OAuth2Error as error:
            raise ProviderRefused(_name_of(error)) from None


def _name_of(error: OAuth2Error) -> str:
    """The error's name as the provider spells it, if it looks like one: anybody may have written it."""
    name = str(error.error)
    return name if _ERROR_NAME.fullmatch(name) else "an error"
