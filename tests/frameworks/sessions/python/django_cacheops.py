"""django-cacheops: cached queries, invalidated through sets of their conditions."""
import os

import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "cacheops"], SECRET_KEY="secret",
    CACHEOPS_REDIS=os.environ["REDIS_URL"], CACHEOPS={"auth.user": {"ops": "all", "timeout": 60}},
)
django.setup()
from django.contrib.auth.models import User  # noqa: E402 # it asks for the settings
from django.core.management import call_command  # noqa: E402

call_command("migrate", verbosity=0)
User.objects.create_user("ada")
assert User.objects.filter(username="ada").count() == 1
User.objects.create_user("bob")
assert list(User.objects.filter(username="bob").cache()) != []
