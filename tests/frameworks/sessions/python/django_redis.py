"""django-redis: cache, lock, incr, ttl, keys, delete_pattern, sessions, in database 1."""
import os

from django_redis import get_redis_connection
from django_session import session

session("django_redis.cache.RedisCache", os.environ["REDIS_URL"], get_redis_connection)
