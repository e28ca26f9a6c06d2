"""django-defender: failed logins are counted by user and by address, and lock out."""
import os

import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "defender"],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    DEFENDER_REDIS_URL=os.environ["REDIS_URL"] + "/1",
    DEFENDER_LOGIN_FAILURE_LIMIT=2,
    DEFENDER_COOLOFF_TIME=100,
    DEFENDER_STORE_ACCESS_ATTEMPTS=False,
    SECRET_KEY="secret",
)
django.setup()
from defender import utils  # noqa: E402 # it asks for the settings
from django.test import RequestFactory  # noqa: E402


def attempt(address):
    request = RequestFactory().post("/login", {"username": "Ada"}, REMOTE_ADDR=address)
    if utils.is_already_locked(request):
        return "locked"
    return "counted" if utils.check_request(request, login_unsuccessful=True) else "locks"


assert [attempt("10.0.0.1") for _ in range(4)] == ["counted", "counted", "locks", "locked"]
assert attempt("10.0.0.2") == "locked"
assert utils.get_blocked_ips() == ["10.0.0.1"] and utils.get_blocked_usernames() == ["ada"]
db = utils.get_redis_connection()
assert all(90 < db.ttl(key) <= 100 for key in db.keys("defender:blocked:*"))
utils.unblock_username("Ada")
utils.unblock_ip("10.0.0.1")
assert db.keys() == [] and attempt("10.0.0.1") == "counted"
utils.reset_failed_attempts(ip_address="10.0.0.1", username="Ada")
assert db.keys() == []
