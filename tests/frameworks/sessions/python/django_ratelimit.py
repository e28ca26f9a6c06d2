"""django-ratelimit: views with limits, counted in django-redis."""
import os

import django
from django.conf import settings
from eventually import eventually

settings.configure(
    CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": os.environ["REDIS_URL"]}},
    INSTALLED_APPS=["django_ratelimit"], ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"], SECRET_KEY="secret",
    MIDDLEWARE=["django_ratelimit.middleware.RatelimitMiddleware"], RATELIMIT_VIEW="__main__.refuse",
)
django.setup()
from django.http import HttpResponse  # noqa: E402 # it asks for the settings
from django.test import Client  # noqa: E402
from django.urls import path  # noqa: E402
from django_ratelimit.core import get_usage  # noqa: E402
from django_ratelimit.decorators import ratelimit  # noqa: E402


def refuse(request, exception):
    return HttpResponse(status=429)


@ratelimit(key="ip", rate="3/h")
def few(request):
    return HttpResponse("ok")


@ratelimit(key="get:user", rate="1/s")
def soon(request):
    return HttpResponse("ok")


def usage(request):
    return HttpResponse(get_usage(request, group="g", key="ip", rate="2/h", increment=True)["count"])


urlpatterns = [path("few", few), path("soon", soon), path("usage", usage)]
browser = Client()
assert [browser.get("/few").status_code for _ in range(4)] == [200, 200, 200, 429]
assert browser.get("/few", REMOTE_ADDR="10.0.0.2").status_code == 200
assert [browser.get("/usage").content for _ in range(3)] == [b"1", b"2", b"3"]
eventually(lambda: browser.get("/soon?user=1").status_code == 429, "refused")
eventually(lambda: browser.get("/soon?user=1").status_code == 200, "allowed after the window")
