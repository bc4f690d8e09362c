"""Serves /user/profile: the caller's own profile."""

import msgspec

from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.scopes import READ, WRITE
from jan.schema.users import ProfileChanges, UserProfile
from jan.storage.records import User


def profile_of(user: User) -> UserProfile:
    """Return a user's record as clients see it."""
    return msgspec.convert(user, UserProfile, from_attributes=True)


class Profile(Handler):
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
