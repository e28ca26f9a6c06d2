"""redis-py, with and without asyncio, as its users use it: `redis_py.py PROTOCOL PORT`.

It prints `restart` and waits for a line: the server is started again on the same port meanwhile. Exit status 0: all held.
"""
import asyncio
import signal
import sys
import threading
import time

import redis
import redis.asyncio
import redis.cache

PROTOCOL, PORT = int(sys.argv[1]), int(sys.argv[2])
OPTIONS = {"port": PORT, "protocol": PROTOCOL, "decode_responses": True}
BACKOFF = redis.backoff.ConstantBackoff(0.05)
signal.alarm(60)  # too slow


def eventually(holds, what):
    """Waits until something holds."""
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def refused(call, error, text):
    """The call must fail so."""
    try:
        call()
    except error as found:
        assert text in str(found), found
    else:
        raise AssertionError(f"not refused: {text}")


def strings(db):
    db.flushall()
    assert db.set("name", "Ada") is True
    assert db.get("name") == "Ada"
    assert db.set("name", "Bob", nx=True) is None
    assert db.set("name", "Bob", xx=True, get=True) == "Ada"
    assert db.getset("name", "Cy") == "Bob"
    assert db.mset({"a": "1", "b": "2"}) is True
    assert db.mget("a", "b", "c") == ["1", "2", None]
    assert db.incr("a") == 2 and db.incrby("a", 40) == 42 and db.decr("a") == 41
    assert db.incrbyfloat("f", 0.1) == 0.1 and round(db.incrbyfloat("f", 0.2), 9) == 0.3
    assert db.append("a", "x") == 3 and db.strlen("a") == 3 and db.getrange("a", 0, 1) == "41"
    assert db.setrange("a", 1, "yy") == 3 and db.get("a") == "4yy"
    assert db.exists("a", "b", "nobody") == 2 and db.delete("a", "b") == 2
    assert db.rename("name", "new") is True and db.type("new") == "string"
    assert db.copy("new", "copy") is True and db.getdel("copy") == "Cy"
    assert db.dbsize() == 2 and db.ping() is True and db.echo("hello") == "hello"
    binary = redis.Redis(port=PORT, protocol=PROTOCOL)
    value = bytes(range(256)) * 1000
    assert binary.set("binary", value) and binary.get("binary") == value


def expiry(db):
    assert db.set("short", "x", px=40)
    assert 0 < db.pttl("short") <= 40
    eventually(lambda: db.get("short") is None, "it did not expire")
    assert db.ttl("short") == -2 and db.ttl("new") == -1
    assert db.expire("new", 100) is True and 99 <= db.ttl("new") <= 100
    assert db.expire("new", 50, gt=True) is False and db.expireat("new", 2_000_000_000) is True
    assert db.expiretime("new") == 2_000_000_000
    assert db.persist("new") is True and db.ttl("new") == -1
    assert db.getex("new", ex=100) == "Cy" and db.ttl("new") > 0


def pipelines(db):
    with db.pipeline(transaction=False) as pipe:
        for n in range(3000):
            pipe.set(f"n:{n}", n).get(f"n:{n}")
        replies = pipe.execute()
    assert replies[::2] == [True] * 3000 and replies[1::2] == [str(n) for n in range(3000)]
    with db.pipeline(transaction=False) as pipe:
        replies = pipe.set("a", "x").incr("a").get("a").execute(raise_on_error=False)
    assert isinstance(replies[1], redis.ResponseError) and replies[::2] == [True, "x"]


def transactions(db):
    with db.pipeline() as pipe:
        assert pipe.set("t", 1).incr("t").get("t").execute() == [True, 2, "2"]
    with db.pipeline() as pipe:
        pipe.watch("t")
        db.set("t", 10)
        pipe.multi()
        pipe.incr("t")
        refused(pipe.execute, redis.WatchError, "")
    assert db.get("t") == "10"
    assert db.transaction(lambda pipe: pipe.multi() or pipe.incr("t"), "t") == [11]


def scans(db):
    assert set(db.scan_iter(match="n:*", count=100)) == {f"n:{n}" for n in range(3000)}
    assert len(set(db.scan_iter())) == db.dbsize() and list(db.scan_iter(_type="list")) == []
    assert sorted(db.keys("n:1?")) == [f"n:1{digit}" for digit in range(10)]
    assert db.exists(db.randomkey()) == 1


def messages(db):
    with db.pubsub() as listener:
        listener.subscribe("news")
        listener.psubscribe("n*")
        assert [listener.get_message(timeout=5)["type"] for _ in range(2)] == ["subscribe", "psubscribe"]
        assert db.publish("news", "hello") == 2
        heard = [listener.get_message(timeout=5) for _ in range(2)]
        assert sorted(message["type"] for message in heard) == ["message", "pmessage"]
        assert all(message["data"] == "hello" for message in heard)
        assert db.pubsub_channels() == ["news"] and db.pubsub_numpat() == 1
        listener.unsubscribe("news")
        listener.punsubscribe()
        assert [listener.get_message(timeout=5)["type"] for _ in range(2)] == ["unsubscribe", "punsubscribe"]
        assert db.publish("news", "nobody hears it") == 0


def errors(db):
    db.set("word", "x")
    refused(lambda: db.incr("word"), redis.ResponseError, "value is not an integer or out of range")
    refused(lambda: db.execute_command("GET"), redis.ResponseError, "wrong number of arguments for 'get' command")
    refused(lambda: db.execute_command("NOSUCH", 1), redis.ResponseError, "unknown command 'NOSUCH'")
    refused(lambda: db.rename("nobody", "x"), redis.ResponseError, "no such key")
    refused(lambda: db.set("word", "y", ex=0), redis.ResponseError, "invalid expire time in 'set' command")
    assert db.get("word") == "x"


def server(db):
    info = db.info()
    assert info["redis_mode"] == "standalone" and info["role"] == "master", info
    assert info["db0"]["keys"] == db.dbsize() and info["tcp_port"] == PORT
    assert db.client_setname("tester") is True and db.client_getname() == "tester"
    assert [client["id"] for client in db.client_list() if client["name"] == "tester"] == [str(db.client_id())]
    assert db.config_get("maxmemory") == {"maxmemory": "0"}
    assert db.command_count() > 80 and "get" in db.command()
    assert db.memory_usage("word") > 0 and db.object("encoding", "word") == "embstr"
    assert db.lastsave() and db.time() and db.slowlog_get() is not None


def restart():
    print("restart", flush=True)
    sys.stdin.readline()


def restarts(db):
    assert db.set("kept", "for ever", ex=100_000)
    restart()
    assert db.get("kept") == "for ever" and db.ttl("kept") > 90_000


def caching(db):
    """The copies in the client (RESP3) follow the changes: none comes back once a newer value was seen, also under load."""
    if PROTOCOL < 3:
        return
    with redis.Redis(**OPTIONS, cache_config=redis.cache.CacheConfig(max_size=100)) as cached:
        copies = cached.get_cache()
        assert db.set("cached", 0) and cached.get("cached") == "0" and copies.size == 1
        changes = threading.Thread(target=lambda: [db.incr("cached") for _ in range(3000)])
        changes.start()
        seen, hits = 0, 0
        while changes.is_alive():
            hits += copies.size
            value = int(cached.get("cached"))
            assert value >= seen, f"{value} after {seen}"
            seen = value
        assert hits > 100, f"only {hits} reads of copies"
        eventually(lambda: cached.get("cached") == "3000", "the last change was not told")
        assert cached.get("cached") == "3000" and copies.size == 1
        db.flushall()
        eventually(lambda: cached.get("cached") is None, "the flush was not told")


async def asynchronous():
    retry = redis.asyncio.retry.Retry(BACKOFF, 100)
    async with redis.asyncio.Redis(**OPTIONS, retry=retry) as db:
        await db.flushall()
        assert await db.set("a", 1, px=100_000) and await db.incr("a") == 2
        replies = await asyncio.gather(*(db.incr("many") for _ in range(50)))
        assert sorted(replies) == list(range(1, 51))
        async with db.pipeline(transaction=True) as pipe:
            value, left_ms = await pipe.get("a").pttl("a").execute()
        assert value == "2" and 90_000 < left_ms <= 100_000
        async with db.pipeline() as pipe:
            await pipe.watch("a")
            await db.incr("a")
            pipe.multi()
            try:
                await pipe.incr("a").execute()
            except redis.WatchError:
                pass
            else:
                raise AssertionError("EXEC was not refused")
        assert [key async for key in db.scan_iter("man*")] == ["many"]
        async with db.pubsub() as listener:
            await listener.subscribe("news")
            assert (await listener.get_message(timeout=5))["type"] == "subscribe"
            assert await db.publish("news", "hello") == 1
            assert (await listener.get_message(timeout=5))["data"] == "hello"
        try:
            await db.execute_command("NOSUCH")
        except redis.ResponseError as error:
            assert "unknown command 'NOSUCH'" in str(error), error
        else:
            raise AssertionError("NOSUCH was not refused")
        restart()
        assert await db.get("many") == "50"


with redis.Redis(**OPTIONS, retry=redis.retry.Retry(BACKOFF, 100)) as client:
    for part in [strings, expiry, pipelines, transactions, scans, messages, errors, server, caching, restarts]:
        part(client)
        print(part.__name__, "ok", flush=True)
asyncio.run(asynchronous())
print("asyncio ok", flush=True)
