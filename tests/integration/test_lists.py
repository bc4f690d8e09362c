"""Lists of keys and users through HTTP, on both backends: a page at a time, in the form of all other lists."""

import httpx
import pytest
from support.conversation import API, StoredServer, pages

KEYS, USERS = f"{API}/user/api-keys", f"{API}/users"


def test_keys_page_without_gaps_or_duplicates(me: httpx.Client, somebody: httpx.Client) -> None:
    """In order of creation, in pages of any size, each key of the caller once and nobody else's."""
    assert somebody.post(KEYS, json={"name": "another's"}).status_code == 200
    (own,) = me.get(KEYS).json()["data"]
    made = [own["id"], *(me.post(KEYS, json={"name": str(number)}).json()["id"] for number in range(6))]
    assert me.delete(f"{KEYS}/{made[3]}").status_code == 200  # it stays in the list
    for limit in (1, 3, 7, 500):
        found = list(pages(me, KEYS, limit=limit))
        assert [key["id"] for page in found for key in page] == made
        assert {len(page) for page in found[:-1]} <= {limit}


def test_users_page_without_gaps_or_duplicates(stored_server: StoredServer) -> None:
    """In order of creation, in pages of any size, each user once."""
    with stored_server.client() as admin:
        made = [admin.post(USERS, json={"email": f"list{number}@example.org"}).json()["id"] for number in range(5)]
        everybody = [user["id"] for page in pages(admin, USERS, limit=500) for user in page]
        assert everybody[-5:] == made
        for limit in (2, 3):
            assert [user["id"] for page in pages(admin, USERS, limit=limit) for user in page] == everybody


def test_a_page_has_a_hundred_by_default(me: httpx.Client) -> None:
    """A list of more says so, and goes on where the page ended; one of a hundred is all there is."""
    made = [me.post(KEYS, json={"name": str(number)}).json()["id"] for number in range(99)]
    full = me.get(KEYS).json()
    assert (full["object"], len(full["data"]), full["has_more"], full["next_cursor"]) == ("list", 100, False, None)
    last = me.post(KEYS, json={"name": "one more"}).json()["id"]
    first = me.get(KEYS).json()
    assert (first["has_more"], first["data"][-1]["id"]) == (True, made[-1])
    rest = me.get(KEYS, params={"cursor": first["next_cursor"]}).json()
    assert ([key["id"] for key in rest["data"]], rest["has_more"], rest["next_cursor"]) == ([last], False, None)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "501"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"cursor": "no cursor"}, "cursor"),
        ({"cursor": "zz"}, "cursor"),
        ({"cursor": "x" * 301}, "cursor"),
        ({"page": "2"}, "page"),
    ],
)
def test_bad_queries_are_refused(stored_server: StoredServer, query: dict[str, str], param: str) -> None:
    """Each mistake is a 400 that names the parameter."""
    with stored_server.client() as admin:
        for url in (KEYS, USERS):
            refused = admin.get(url, params=query)
            assert refused.status_code == 400
            assert refused.json()["error"]["param"] == param
