"""In: something to ask for. Out: it holds before the deadline, or an AssertionError says what did not."""
import time


def eventually(holds, what, seconds=10):
    """Asks again and again until something is true, and returns it."""
    end = time.monotonic() + seconds
    while True:
        found = holds()
        if found:
            return found
        assert time.monotonic() < end, what
        time.sleep(0.02)


async def eventually_async(holds, what, seconds=10):
    """The same for a coroutine."""
    import asyncio

    end = time.monotonic() + seconds
    while True:
        found = await holds()
        if found:
            return found
        assert time.monotonic() < end, what
        await asyncio.sleep(0.02)
