"""Flask-Session: sessions written, read, expired and cleared."""
import datetime
import os

from eventually import eventually
from flask import Flask, session
from flask_session import Session
from redis import Redis

db = Redis.from_url(os.environ["REDIS_URL"])
app = Flask("app")
app.config.update(SESSION_TYPE="redis", SESSION_REDIS=db, PERMANENT_SESSION_LIFETIME=datetime.timedelta(seconds=100))
Session(app)


@app.route("/visit")
def visit():
    session["visits"] = session.get("visits", 0) + 1
    return str(session["visits"])


@app.route("/leave")
def leave():
    session.clear()
    return "left"


browser = app.test_client()
assert [browser.get("/visit").data for _ in range(3)] == [b"1", b"2", b"3"] and app.test_client().get("/visit").data == b"1"
keys = db.keys("session:*")
assert len(keys) == 2 and all(90 < db.ttl(key) <= 100 for key in keys)
for key in keys:
    db.pexpire(key, 50)
eventually(lambda: db.keys("session:*") == [], "sessions expire")
assert browser.get("/visit").data == b"1" and browser.get("/visit").data == b"2"
browser.get("/leave")
assert db.keys("session:*") == [] and browser.get("/visit").data == b"1"
