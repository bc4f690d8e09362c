"""The OAuth half of a sign-in (RFC 6749, RFC 7636), by oauthlib.

Imported at the first sign-in: the import is slow, and most servers never need it.
"""

import re
from collections.abc import Sequence
from typing import Any

from oauthlib.oauth2 import MismatchingStateError, MissingCodeError, OAuth2Error, WebApplicationClient

from jan.auth.oidc.flow import Flow, other_sign_in
from jan.auth.oidc.refusal import ProviderRefused
from jan.errors import InvalidRequest

_VERIFIER_LENGTH = 64
_ERROR_NAME = re.compile(r"[a-z_]{1,64}")


class Authorization:
    """Requests to the provider in one sign-in, and its answers."""

    def __init__(self, client_id: str) -> None:
        self._client = WebApplicationClient(client_id)

    def new_verifier(self) -> str:
        """Make a secret that binds the code to this sign-in (RFC 7636)."""
        verifier: str = self._client.create_code_verifier(_VERIFIER_LENGTH)
        return verifier

    def url(self, endpoint: str, flow: Flow, scopes: Sequence[str]) -> str:
        """Make the URL to which the browser is sent."""
        # oauthlib requires TLS, but loopback is allowed here. So it gets the URL without its scheme.
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
        """Parse a callback's query, which has a ``code``. Raises InvalidRequest or ProviderRefused."""
        try:
            # oauthlib reads only the query. The rest of the URL satisfies its demand for TLS.
            answer: dict[str, Any] = self._client.parse_request_uri_response(
                f"https://callback/?{query}", state=flow.state
            )
        except MismatchingStateError:
            raise other_sign_in() from None
        except MissingCodeError:
            raise InvalidRequest("The provider sent no `code`.", code="missing_code", param="code") from None
        except OAuth2Error as error:
            raise ProviderRefused(_name_of(error)) from None
        return answer

    def token_request(self, flow: Flow, code: str, client_secret: str | None) -> str:
        """Make the body that exchanges a code for tokens."""
        body: str = self._client.prepare_request_body(
            code=code, redirect_uri=flow.redirect_uri, code_verifier=flow.verifier, client_secret=client_secret
        )
        return body

    def check_token_answer(self, answer: bytes) -> None:
        """Check the answer to a token request. Raises ProviderRefused if it is an error."""
        try:
            self._client.parse_request_body_response(answer.decode())
        except OAuth2Error as error:
            raise ProviderRefused(_name_of(error)) from None


def _name_of(error: OAuth2Error) -> str:
    """Return the error's name if it has the form of one. Anybody may have written it."""
    name = str(error.error)
    return name if _ERROR_NAME.fullmatch(name) else "an error"
