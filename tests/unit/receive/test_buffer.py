"""The buffer never holds more than it may, and the oldest image goes first."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from trap_ops.receive.buffer import Buffer, StreamImage


def image(number: int, size: int = 10) -> StreamImage:
    return StreamImage("s", "p", str(number).encode(), bytearray(size), received_at=0.0)


def numbers(images: list[StreamImage]) -> list[int]:
    return [int(each.cards) for each in images]


def test_the_oldest_of_too_many_is_dropped() -> None:
    gone: list[StreamImage] = []
    buffer = Buffer(2, 1000, gone.append)
    for number in range(4):
        assert buffer.reserve(10)
        buffer.put(image(number))
    assert numbers(gone) == [0, 1]
    assert (len(buffer), buffer.held) == (2, 20)


def test_the_oldest_make_room_for_what_comes_in() -> None:
    gone: list[StreamImage] = []
    buffer = Buffer(100, 30, gone.append)
    for number in range(3):
        assert buffer.reserve(10)
        buffer.put(image(number))
    assert buffer.reserve(15)
    assert numbers(gone) == [0, 1]
    # Nothing is dropped in vain: 25 bytes more would not find room without the last one, too.
    assert not buffer.reserve(25)
    assert numbers(gone) == [0, 1]
    assert buffer.held == 25


def test_an_image_counts_until_it_is_on_the_disk() -> None:
    async def take() -> None:
        buffer = Buffer(100, 20, lambda _: None)
        for number in range(2):
            assert buffer.reserve(10)
            buffer.put(image(number))
        taken = await buffer.get()
        assert taken is not None
        assert not buffer.reserve(11)
        buffer.release(10)
        assert buffer.reserve(10)
        buffer.close()
        assert await buffer.get() is not None
        assert await buffer.get() is None

    asyncio.run(take())


@given(st.lists(st.integers(1, 40), max_size=40), st.integers(1, 5), st.integers(1, 100))
def test_it_never_holds_more(sizes: list[int], images_max: int, bytes_max: int) -> None:
    gone: list[StreamImage] = []
    buffer = Buffer(images_max, bytes_max, gone.append)
    put = []
    for number, size in enumerate(sizes):
        if buffer.reserve(size):
            buffer.put(image(number, size))
            put.append(number)
        assert buffer.held <= bytes_max
        assert len(buffer) <= images_max
        assert buffer.held == sum(sizes[each] for each in put[len(gone) :])
    assert numbers(gone) == put[: len(gone)]
    assert all(size > bytes_max for number, size in enumerate(sizes) if number not in put)
