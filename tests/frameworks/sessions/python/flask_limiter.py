"""Flask-Limiter: fixed and sliding windows, headers, reset."""
import os

from eventually import eventually
from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

for strategy in ("fixed-window", "sliding-window-counter"):
    app = Flask(strategy)
    limiter = Limiter(
        get_remote_address, app=app, storage_uri=os.environ["REDIS_URL"] + "/4", strategy=strategy, headers_enabled=True,
        default_limits=["100 per hour"], key_prefix=strategy,
    )

    @app.route("/few")
    @limiter.limit("3 per minute")
    def few():
        return "ok"

    @app.route("/soon")
    @limiter.limit("1 per second")
    def soon():
        return "ok"

    browser = app.test_client()
    replies = [browser.get("/few") for _ in range(4)]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429], (strategy, replies)
    assert [reply.headers["X-RateLimit-Remaining"] for reply in replies] == ["2", "1", "0", "0"]
    assert browser.get("/few", environ_overrides={"REMOTE_ADDR": "10.0.0.2"}).status_code == 200
    eventually(lambda: [browser.get("/soon").status_code for _ in range(2)][1] == 429, f"{strategy}: the second one is refused")
    eventually(lambda: browser.get("/soon").status_code == 200, f"{strategy}: allowed after the window")
    limiter.reset()
    assert browser.get("/few").status_code == 200
