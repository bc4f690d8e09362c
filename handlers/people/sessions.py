"""POST /auth/refresh, POST /auth/logout, GET /.well-known/jwks.json."""

from datetime import UTC, datetime

from jan.errors import AuthenticationFailed, InvalidRequest
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.auth import JsonWebKeySet, SignedOut, TokenResponse
from jan.schema.scopes import KEYS, PUBLIC, READ


class TokenRefresh(Handler):
    """The exchange of a token."""

    @operation(
        summary="Refresh a token",
        # The token in the Authorization header is the credential, and may be expired: checked inside.
        access=PUBLIC,
        tag="auth",
        response=TokenResponse,
        errors=(AuthenticationFailed,),
    )
    async def post(self) -> TokenResponse:
        """Exchange a token, expired or not, for a new one, once. Send it as `Authorization: Bearer`. A token that
        is sent a second time ends its whole session."""
        issued = await self.services.sessions.refresh(self.required_credential())
        seconds = (issued.expires_at - datetime.now(UTC)).total_seconds()
        return TokenResponse(
            access_token=issued.token, expires_in=max(0, round(seconds)), expires_at=issued.expires_at
        )


class Logout(Handler):
    """The end of the session."""

    @operation(
        summary="Sign out",
        access=READ,
        tag="auth",
        ends_credentials=True,
        response=SignedOut,
        errors=(InvalidRequest,),
    )
    async def post(self) -> SignedOut:
        """End the session of the token, or of the browser's cookie, which is removed. The token and those
        exchanged for it are refused from now on, and what runs with them ends."""
        if self.identity.session_id is None:
            raise InvalidRequest("An API key has no session. Revoke it with DELETE /user/api-keys/{id}.")
        await self.services.sessions.sign_out(self.identity)
        self.services.cookies.remove(self)
        return SignedOut()


class LogoutEverywhere(Handler):
    """The end of all sessions."""

    @operation(summary="Sign out everywhere", access=KEYS, tag="auth", ends_credentials=True, response=SignedOut)
    async def post(self) -> SignedOut:
        """End all sessions of the user. Every token issued so far is refused from now on, and what runs with it
        ends; API keys work on. A key may do it if it can do all that the sessions can."""
        user = await self.services.users.get(self.user_id)
        await self.services.key_grants.check_sessions(user, self.identity)
        await self.services.sessions.sign_out(self.identity, everywhere=True)
        return SignedOut()


class PublicKeys(Handler):
    """The public keys that verify tokens."""

    @operation(
        summary="Public signing keys",
        access=PUBLIC,
        tag="auth",
        response=JsonWebKeySet,
        limit="none",
        examples=(Example(summary="JSON Web Key Set"),),
    )
    async def get(self) -> JsonWebKeySet:
        """Return the keys for services that verify this server's tokens themselves. Empty with HS256."""
        return JsonWebKeySet(keys=self.services.keyring.jwks())
