# ruby-activesupport: Rails' RedisCacheStore: fetch, race_condition_ttl, many, increment, delete_matched, clear.
require 'check'
require 'active_support'
require 'active_support/cache'
require 'active_support/cache/redis_cache_store'
require 'active_support/notifications'

cache = ActiveSupport::Cache::RedisCacheStore.new(url: "#{ENV['REDIS_URL']}/1", namespace: 'app', error_handler: ->(exception:, **) { raise exception })
calls = 0
2.times { check cache.fetch('slow', expires_in: 100, race_condition_ttl: 5) { { call: calls += 1 } } == { call: 1 }, 'fetch' }
check cache.write('a', [1, nil]) && cache.read('a') == [1, nil] && cache.exist?('a'), 'write'
check cache.write('a', 2, unless_exist: true) == false, 'unless_exist'
check cache.write_multi('b' => 2, 'c' => 'x' * 5000) && cache.read_multi('b', 'c', 'none') == { 'b' => 2, 'c' => 'x' * 5000 }, 'many'
check cache.fetch_multi('b', 'd') { |name| name * 2 } == { 'b' => 2, 'd' => 'dd' }, 'fetch_multi'
check cache.increment('n') == 1 && cache.increment('n', 4, expires_in: 100) == 5 && cache.decrement('n') == 4, 'increment'
check cache.read('n', raw: true) == '4', 'a number'
cache.write('short', 1, expires_in: 0.1)
finish = Time.now + 10
check Time.now < finish, 'an entry expires' while cache.exist?('short')
cache.delete_matched('[ab]')
check !cache.exist?('a') && !cache.exist?('b') && cache.exist?('c'), 'delete_matched'
check cache.delete('c') && !cache.exist?('c') && cache.delete_multi(%w[d none]) == 1, 'delete'
Redis.new(url: "#{ENV['REDIS_URL']}/1").set('other', 1)
cache.clear
check !cache.exist?('slow') && Redis.new(url: "#{ENV['REDIS_URL']}/1").exists?('other'), 'clear'
