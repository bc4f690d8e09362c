"""Requests carried out once: the contract, on each backend; time is given, never waited for."""

import asyncio
from datetime import datetime, timedelta

import msgspec

from jan.storage import Store
from jan.storage.idempotent_answers import IdempotentAnswer
from jan.storage.records import now

AT = now()
MINUTE = timedelta(minutes=1)


def asked(attempt: str, at: datetime = AT, *, request: str = "r", fingerprint: str = "f") -> IdempotentAnswer:
    """An attempt at a request; each has a seed of its own."""
    return IdempotentAnswer(
        id=request, fingerprint=fingerprint, attempt=attempt, begun_at=at, first_at=at, seed=attempt.encode()
    )


def answered(attempt: IdempotentAnswer, answer: bytes) -> IdempotentAnswer:
    return msgspec.structs.replace(attempt, answer=answer)


async def begin(store: Store, attempt: IdempotentAnswer) -> IdempotentAnswer:
    """Claim as the server does: a minute after it began, a request may be carried out again."""
    return await store.idempotent_answers.begin(attempt, abandoned_before=attempt.begun_at - MINUTE)


async def test_one_attempt_at_a_time(store: Store, second_store: Store) -> None:
    """The first attempt holds the request; another one, also from another process, learns that."""
    first = asked("1")
    assert await begin(store, first) == first
    assert await begin(second_store, asked("2", AT + MINUTE)) == first


async def test_of_many_at_once_one_wins(store: Store, second_store: Store) -> None:
    """Twenty attempts at once: all hear of the same one."""
    stores = (store, second_store)
    found = await asyncio.gather(*(begin(stores[n % 2], asked(str(n))) for n in range(20)))
    assert len({stored.attempt for stored in found}) == 1


async def test_the_answer_is_given_again(store: Store) -> None:
    """An answer stays the same, whenever it is asked for again, byte for byte."""
    first = answered(asked("1"), bytes(range(256)))
    await begin(store, asked("1"))
    await store.idempotent_answers.finish(first)
    assert await begin(store, asked("2", AT + 600 * MINUTE)) == first


async def test_a_request_that_lost_its_server_goes_on(store: Store) -> None:
    """More than a minute later another attempt takes over, with the seed and the time of the first; what the
    first attempt still says is not heard."""
    first, second = asked("1"), asked("2", AT + 2 * MINUTE)
    await begin(store, first)
    taken = await begin(store, second)
    assert taken == msgspec.structs.replace(second, first_at=first.first_at, seed=first.seed)
    await store.idempotent_answers.finish(answered(first, b"late"))
    await store.idempotent_answers.release(first)
    await store.idempotent_answers.forget(first)
    assert await begin(store, asked("3", AT + 3 * MINUTE)) == taken


async def test_a_sign_of_life_keeps_a_request(store: Store) -> None:
    """An attempt that shows that it is under way is not taken over. One that was taken over shows nothing, and an
    answer stays as it is."""
    first, second, third = asked("1"), asked("2", AT + 2 * MINUTE), asked("3", AT + 9 * MINUTE)
    await begin(store, first)
    await store.idempotent_answers.renew(first, AT + MINUTE)
    assert await begin(store, second) == msgspec.structs.replace(first, begun_at=AT + MINUTE)
    taken = await begin(store, third)
    await store.idempotent_answers.renew(first, AT + 20 * MINUTE)
    assert await begin(store, asked("4", AT + 10 * MINUTE)) == taken
    await store.idempotent_answers.finish(answered(taken, b"done"))
    await store.idempotent_answers.renew(taken, AT + 20 * MINUTE)
    assert await begin(store, asked("5", AT + 30 * MINUTE)) == answered(taken, b"done")


async def test_of_many_that_take_over_one_wins(store: Store, second_store: Store) -> None:
    """Twenty attempts at once at a request that lost its server: all hear of the same one."""
    await begin(store, asked("dead"))
    stores = (store, second_store)
    found = await asyncio.gather(*(begin(stores[n % 2], asked(str(n), AT + 2 * MINUTE)) for n in range(20)))
    assert len({stored.attempt for stored in found}) == 1
    assert found[0].attempt != "dead"


async def test_a_released_request_goes_on_at_once(store: Store) -> None:
    """An attempt whose end nobody knows is followed by the next one, with its seed."""
    first = asked("1")
    await begin(store, first)
    await store.idempotent_answers.release(first)
    assert (await begin(store, asked("2"))).seed == first.seed


async def test_another_request_begins_anew(store: Store) -> None:
    """A key whose request came to nothing can be used for something else, which has its own seed."""
    await begin(store, asked("1"))
    other = asked("2", AT + 2 * MINUTE, fingerprint="other")
    assert await begin(store, other) == other


async def test_a_forgotten_request_is_new(store: Store) -> None:
    """A request that was refused leaves nothing behind."""
    await begin(store, asked("1"))
    await store.idempotent_answers.forget(asked("1"))
    second = asked("2")
    assert await begin(store, second) == second


async def test_answers_about_a_deleted_conversation_are_forgotten(store: Store) -> None:
    """Also one that is still under way; answers about others stay."""
    gone, other, under_way = (
        msgspec.structs.replace(asked("1", request=name), about=about)
        for name, about in (("a", "conv_1"), ("b", "conv_2"), ("c", "conv_1"))
    )
    for request in (gone, other, under_way):
        await begin(store, request)
    for request in (gone, other):
        await store.idempotent_answers.finish(answered(request, b"x"))
    await store.idempotent_answers.forget_about("conv_1")
    await store.idempotent_answers.finish(answered(under_way, b"late"))
    assert [(await begin(store, asked("2", request=name))).attempt for name in "abc"] == ["2", "1", "2"]


async def test_answers_are_forgotten_by_age(store: Store) -> None:
    """A purge takes what began before the time, to the millisecond, and tells how many."""
    day = timedelta(hours=24)
    old, young = asked("1", AT - day - timedelta(milliseconds=1), request="old"), asked("2", AT - day)
    for request in (old, young):
        await begin(store, request)
        await store.idempotent_answers.finish(answered(request, b"x"))
    assert await store.idempotent_answers.purge(AT - day) == 1
    assert (await begin(store, asked("3", request="old"))).attempt == "3"
    assert (await begin(store, asked("3"))).attempt == "2"
