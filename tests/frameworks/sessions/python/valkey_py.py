"""valkey: pipelines, scripts, Lock, pub/sub."""
import os

import valkey

db = valkey.Valkey.from_url(os.environ["REDIS_URL"], decode_responses=True)
assert db.set("name", "Ada", ex=100) and db.get("name") == "Ada" and 98 <= db.ttl("name") <= 100
assert db.pipeline().incr("n").incr("n").get("n").execute() == [1, 2, "2"]
with db.pipeline() as pipe:
    pipe.watch("n")
    db.set("n", 10)
    pipe.multi()
    pipe.incr("n")
    try:
        pipe.execute()
        raise AssertionError("a watched key changed")
    except valkey.WatchError:
        pass
add = db.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
assert add(keys=["sum"], args=[2]) == 2
mine, other = db.lock("job", timeout=30), db.lock("job", timeout=30)
assert mine.acquire(blocking=False) and not other.acquire(blocking=False) and mine.extend(30)
mine.release()
with other:
    assert db.pttl("job") > 25000
with db.pubsub(ignore_subscribe_messages=True) as listener:
    listener.subscribe("news")
    assert listener.get_message(timeout=5) is None and db.publish("news", "hello") == 1
    assert listener.get_message(timeout=5)["data"] == "hello"
assert sorted(db.scan_iter("n*")) == ["n", "name"]
