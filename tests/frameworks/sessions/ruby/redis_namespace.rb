# ruby-redis-namespace: keys under a prefix.
require 'check'
require 'redis'
require 'redis-namespace'

db = Redis.new(url: ENV['REDIS_URL'])
app = Redis::Namespace.new(:app, redis: db)
check app.set('a', 1) && db.get('app:a') == '1' && app.incr('a') == 2, 'set'
check app.mget('a', 'none') == ['2', nil] && app.keys('*') == ['a'] && app.scan_each.to_a == ['a'], 'keys'
check app.multi { |transaction| transaction.set('b', 1); transaction.get('b') } == %w[OK 1], 'MULTI'
check app.eval('return redis.call("GET", KEYS[1])', ['b']) == '1' && app.expire('b', 100) && app.ttl('b') > 90, 'EVAL'
check app.del('a', 'b') == 2 && db.dbsize.zero?, 'del'
