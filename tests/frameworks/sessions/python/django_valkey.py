"""django-valkey: cache, lock, incr, ttl, keys, delete_pattern, sessions, in database 1."""
import os

from django_session import session
from django_valkey import get_valkey_connection

session("django_valkey.cache.ValkeyCache", os.environ["REDIS_URL"].replace("redis:", "valkey:"), get_valkey_connection)
