"""Serves /user/profile: the caller's own profile."""

import msgspec

from jan.errors import Conflict
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.scopes import KEYS, READ, WRITE
from jan.schema.users import ProfileChanges, UserDeleted, UserProfile
from jan.storage.records import User


def profile_of(user: User) -> UserProfile:
    """Return a user's record as clients see it."""
    return msgspec.convert(user, UserProfile, from_attributes=True)


class DeletingHandler(Handler):
    """An endpoint that deletes users."""

    async def delete_user(self, user_id: str) -> UserDeleted:
        """Delete a user, and forget the streams that are kept of them. Raises NotFound and Conflict."""
        await self.services.deletion.delete(user_id)
        self.services.streams.forget_of(user_id)
        return UserDeleted(id=user_id)


class Profile(DeletingHandler):
    """The profile of the caller."""

    @operation(
        summary="Get the current user's profile",
        access=READ,
        tag="user",
        response=UserProfile,
        examples=(Example(summary="Who am I?"),),
    )
    async def get(self) -> UserProfile:
        """Return the user whom the credentials belong to."""
        return profile_of(await self.services.users.get(self.user_id))

    @operation(
        summary="Change the current user's name",
        access=WRITE,
        tag="user",
        request=ProfileChanges,
        response=UserProfile,
        examples=(Example(summary="Another name", body={"name": "Ada Lovelace"}),),
    )
    async def patch(self, body: ProfileChanges) -> UserProfile:
        """Change the name, which is all that users can change of themselves."""
        return profile_of(await self.services.users.rename(self.user_id, body.name))

    @operation(
        summary="Delete my account",
        access=KEYS,
        tag="user",
        ends_credentials=True,
        response=UserDeleted,
        errors=(Conflict,),
    )
    async def delete(self) -> UserDeleted:
        """Remove the user for good, with conversations, keys, sessions and usage; what runs ends. Only the audit
        keeps what the user did, by id. A key may do it if it can do all that the sessions can. The last
        administrator is refused."""
        user = await self.services.users.get(self.user_id)
        await self.services.key_grants.check_sessions(user, self.identity)
        return await self.delete_user(user.id)
