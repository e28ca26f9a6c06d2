"""redis: pipelines with WATCH, scripts, pub/sub, numbered databases, SCAN."""
import redis
from redis_session import session

session(redis)
