"""Flask-Caching: cached views, memoize, delete_memoized, many, clear."""
import os

from eventually import eventually
from flask import Flask
from flask_caching import Cache

app = Flask("app")
cache = Cache(app, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": os.environ["REDIS_URL"] + "/3", "CACHE_KEY_PREFIX": "app:"})
calls = []


@app.route("/slow")
@cache.cached(timeout=60)
def slow():
    calls.append("slow")
    return f"{len(calls)}"


@cache.memoize(60)
def double(n):
    calls.append(n)
    return 2 * n


browser = app.test_client()
assert browser.get("/slow").data == browser.get("/slow").data and calls == ["slow"]
with app.app_context():
    assert double(2) == double(2) == 4 and double(3) == 6 and calls == ["slow", 2, 3]
    cache.delete_memoized(double, 2)
    assert double(2) == 4 and double(3) == 6 and calls == ["slow", 2, 3, 2]
    cache.delete_memoized(double)
    assert double(3) == 6 and calls[-1] == 3

    assert cache.set("a", {"x": [1]}, timeout=1) and cache.get("a") == {"x": [1]} and cache.has("a")
    eventually(lambda: cache.get("a") is None, "an entry expires")
    assert cache.add("b", 1) and not cache.add("b", 2) and cache.get("b") == 1
    cache.set_many({"c": 3, "d": 4}, timeout=60)
    assert cache.get_many("c", "d", "none") == [3, 4, None] and cache.get_dict("c", "d") == {"c": 3, "d": 4}
    cache.delete_many("c", "d")
    assert cache.get("c") is None
    cache.clear()
    assert cache.get("b") is None
    assert browser.get("/slow").data != b"1"
