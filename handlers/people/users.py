"""/users and /users/{user_id}, for administrators."""

from handlers.people.profile import DeletingHandler, profile_of
from jan.errors import Conflict, InvalidRequest, NotFound
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.paging import PageQuery
from jan.schema.scopes import ADMIN
from jan.schema.users import NewUser, UserDeleted, UserList, UserProfile, UserUpdate
from jan.storage.records import User, UserChanges


class UserCollection(Handler):
    """All users of the server."""

    @operation(
        summary="List users",
        access=ADMIN,
        tag="users",
        query=PageQuery,
        response=UserList,
        examples=(Example(summary="Everybody"),),
    )
    async def get(self, query: PageQuery) -> UserList:
        """List all users in order of creation, a page at a time: `next_cursor` of one page is the `cursor` of the
        next."""
        page = await self.services.users.page(limit=query.limit, cursor=query.cursor)
        return UserList(
            data=[profile_of(user) for user in page.items],
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )

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
        """Add a user. They sign in with a provider that knows their e-mail address, or with keys that the command
        line makes for them."""
        new = User(id=self.mint.new_id("user"), email=body.email, name=body.name, role=body.role)
        return profile_of(await self.services.users.add(new, self.mint))


class OneUser(DeletingHandler):
    """One user of the server."""

    @operation(summary="Get a user", access=ADMIN, tag="users", response=UserProfile, errors=(NotFound,))
    async def get(self, user_id: str) -> UserProfile:
        """Return the user of this id."""
        return profile_of(await self.services.users.get(user_id))

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
        """Change name, role, budgets, or whether the user may come in. Every process of the server refuses a
        disabled user within a second, and ends what runs for them; keys and tokens work again when the user is
        enabled. The budgets count all
        that the user generates, with whichever key."""
        if user_id == self.user_id and (body.disabled is True or body.role == "user"):
            raise InvalidRequest("Administrators can't lock themselves out. Let another one do it.")
        changes = UserChanges(
            name=body.name,
            role=body.role,
            disabled=body.disabled,
            tokens_per_minute=body.tokens_per_minute,
            tokens_per_day=body.tokens_per_day,
        )
        return profile_of(await self.services.users.update(user_id, changes))

    @operation(
        summary="Delete a user",
        access=ADMIN,
        tag="users",
        ends_credentials=True,
        response=UserDeleted,
        errors=(NotFound, Conflict),
    )
    async def delete(self, user_id: str) -> UserDeleted:
        """Remove the user for good, with conversations, keys, sessions and usage; what runs for them ends. Only
        the audit keeps what they did, by id. The last administrator is refused."""
        return await self.delete_user(user_id)
