# ruby-redis: pipelines, WATCH, scripts, pub/sub, SCAN, databases.
require 'check'
require 'redis'

url = ENV['REDIS_URL']
db = Redis.new(url: url)
check db.set('name', 'Ada', ex: 100, nx: true) && !db.set('name', 'Bob', nx: true), 'SET NX'
check db.get('name') == 'Ada' && db.ttl('name') > 90 && db.get('none').nil?, 'GET'
check db.mset('a', 1, 'b', 'x') == 'OK' && db.mapped_mget('a', 'b', 'none') == { 'a' => '1', 'b' => 'x', 'none' => nil }, 'MSET'
check db.pipelined { |pipe| pipe.incr('a'); pipe.get('a') } == [2, '2'], 'a pipeline'
check db.multi { |transaction| transaction.set('n', 1); transaction.incr('n') } == ['OK', 2], 'MULTI'
other = Redis.new(url: url)
result = db.watch('n') do
  other.set('n', 10)
  db.multi { |transaction| transaction.incr('n') }
end
check result.nil? && db.get('n') == '10', 'WATCH'
script = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
sha = db.script(:load, script)
check db.evalsha(sha, ['sum'], [2]) == 2 && db.eval(script, keys: ['sum'], argv: [3]) == 5, 'EVAL'
check db.scan_each(match: 'n*').to_a.uniq.sort == %w[n name], 'SCAN'
second = Redis.new(url: "#{url}/1")
check second.get('name').nil? && second.set('name', 'Eve') && db.get('name') == 'Ada' && second.dbsize == 1, 'SELECT'

heard = []
other.subscribe('news') do |on|
  on.subscribe { db.publish('news', 'hello') }
  on.message do |channel, text|
    heard << [channel, text]
    other.unsubscribe
  end
end
check heard == [%w[news hello]], 'a message'
begin
  db.incr('name')
  raise 'no error'
rescue Redis::CommandError => error
  check error.message == 'ERR value is not an integer or out of range', error.message
end
