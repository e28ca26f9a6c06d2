"""In: redis-py, or valkey-py, which comes of it. Out: it has done what its users do with it, or an AssertionError."""
import os


def session(library):
    """Uses the module of one of them."""
    pool = library.ConnectionPool.from_url(os.environ["REDIS_URL"], decode_responses=True)
    db = library.Redis(connection_pool=pool)

    assert db.set("name", "Ada", ex=100, nx=True) and db.set("name", "Bob", nx=True) is None
    assert db.get("name") == "Ada" and 98 <= db.ttl("name") <= 100
    assert db.mset({"a": 1, "b": "x"}) and db.mget("a", "b", "none") == ["1", "x", None]
    assert db.incr("a", 4) == 5 and db.incrbyfloat("a", 0.5) == 5.5
    assert sorted(db.scan_iter("[ab]")) == ["a", "b"]

    with db.pipeline() as pipe:
        assert pipe.set("n", 1).incr("n").get("n").execute() == [True, 2, "2"]
        pipe.watch("n")
        db.set("n", 10)
        pipe.multi()
        pipe.incr("n")
        try:
            pipe.execute()
            raise AssertionError("a watched key changed")
        except library.WatchError:
            pass
    assert db.transaction(lambda pipe: (pipe.multi(), pipe.incr("n")), "n") == [11]
    with db.pipeline(transaction=False) as pipe:
        replies = pipe.set("word", "x").incr("word").get("word").execute(raise_on_error=False)
    assert isinstance(replies[1], library.ResponseError) and replies[2] == "x"

    add = db.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert add(keys=["sum"], args=[2]) == 2 and add(keys=["sum"], args=[3]) == 5
    db.script_flush()
    assert add(keys=["sum"], args=[1]) == 6

    with db.pubsub(ignore_subscribe_messages=False) as listener:
        listener.subscribe("news")
        listener.psubscribe("ne*")
        assert [listener.get_message(timeout=5)["type"] for _ in range(2)] == ["subscribe", "psubscribe"]
        assert db.publish("news", "hello") == 2
        got = [listener.get_message(timeout=5) for _ in range(2)]
        assert sorted((message["type"], message["data"]) for message in got) == [("message", "hello"), ("pmessage", "hello")]

    second = library.Redis.from_url(os.environ["REDIS_URL"] + "/1", decode_responses=True)
    assert second.get("name") is None and second.set("name", "Eve") and db.get("name") == "Ada"
    assert second.keys() == ["name"] and second.flushdb() and second.dbsize() == 0 and db.exists("name") == 1
