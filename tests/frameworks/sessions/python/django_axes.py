"""django-axes: failed logins are counted in the cache, and lock out."""
import os

import django
from django.conf import settings

settings.configure(
    CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": os.environ["REDIS_URL"]}},
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "axes"], SECRET_KEY="secret", USE_TZ=True,
    AUTHENTICATION_BACKENDS=["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"],
    AXES_HANDLER="axes.handlers.cache.AxesCacheHandler", AXES_FAILURE_LIMIT=3, AXES_COOLOFF_TIME=1, AXES_LOCKOUT_PARAMETERS=["username"],
    SILENCED_SYSTEM_CHECKS=["axes.W001", "axes.W003"], DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()
from axes.utils import reset  # noqa: E402 # it asks for the settings
from django.contrib.auth import authenticate  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import RequestFactory  # noqa: E402
from django_redis import get_redis_connection  # noqa: E402

call_command("migrate", verbosity=0)
User.objects.create_user("ada", password="right")


def login(password):
    return authenticate(RequestFactory().post("/login"), username="ada", password=password)


assert login("right") is not None
assert [login("wrong") for _ in range(3)] == [None, None, None]
assert login("right") is None, "not locked out"
assert get_redis_connection().dbsize() > 0
reset(username="ada")
assert login("right") is not None
