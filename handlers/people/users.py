"""Users, for administrators."""

from handlers.people.profile import profile_of
from jan.errors import Conflict, InvalidRequest, NotFound
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.scopes import ADMIN
from jan.schema.users import NewUser, UserList, UserProfile, UserUpdate
from jan.storage.records import User, UserChanges

_MANY = 1000


class UserCollection(Handler):
    """All users."""

    @operation(
        summary="List users",
        access=ADMIN,
        tag="users",
        response=UserList,
        examples=(Example(summary="Everybody"),),
    )
    async def get(self) -> UserList:
        """The first thousand, in order of creation."""
        page = await self.services.store.users.page(limit=_MANY)
        return UserList(data=[profile_of(user) for user in page.items])

    @operation(
        summary="Add a user",
        access=ADMIN,
        tag="users",
        request=NewUser,
        response=UserProfile,
        creates=True,
        errors=(Conflict,),
        examples=(Example(summary="A colleague", body={"email": "grace@example.org", "name": "Grace Hopper"}),),
    )
    async def post(self, body: NewUser) -> UserProfile:
        """The user signs in with a provider that knows the address, or with keys that you make."""
        users = self.services.store.users
        new = User(id=self.mint.new_id("user"), email=body.email, name=body.name, role=body.role)
        return profile_of(await self.mint.make(new, users.create, lambda: users.get(new.id)))


class OneUser(Handler):
    """One user."""

    @operation(summary="Get a user", access=ADMIN, tag="users", response=UserProfile, errors=(NotFound,))
    async def get(self, user_id: str) -> UserProfile:
        """The user of this id."""
        return profile_of(await self.services.store.users.get(user_id))

    @operation(
        summary="Change a user",
        access=ADMIN,
        tag="users",
        request=UserUpdate,
        response=UserProfile,
        errors=(NotFound,),
        examples=(
            Example(summary="Shut out", body={"disabled": True}),
            Example(summary="A budget of tokens", body={"tokens_per_minute": 20_000, "tokens_per_day": 1_000_000}),
        ),
    )
    async def patch(self, user_id: str, body: UserUpdate) -> UserProfile:
        """A disabled user is refused at once, everywhere; keys and tokens work again when enabled. The budgets
        hold for all that the user generates, with whichever key."""
        if user_id == self.user_id and (body.disabled is True or body.role == "user"):
            raise InvalidRequest("an administrator can't lock themself out; let another one do it")
        changes = UserChanges(
            name=body.name,
            role=body.role,
            disabled=body.disabled,
            tokens_per_minute=body.tokens_per_minute,
            tokens_per_day=body.tokens_per_day,
        )
        user = await self.services.store.users.update(user_id, changes)
        self.services.credentials.forget()
        return profile_of(user)
