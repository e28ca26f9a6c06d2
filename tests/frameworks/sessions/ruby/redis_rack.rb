# ruby-redis-rack: sessions of a Rack application: written, read, expired, dropped.
require 'check'
require 'rack'
require 'rack/mock'
require 'rack/session/redis'

application = lambda do |environment|
  session = environment['rack.session']
  if environment['PATH_INFO'] == '/leave'
    environment['rack.session.options'][:drop] = true
    next [200, {}, ['left']]
  end
  [200, {}, [(session['visits'] = session['visits'].to_i + 1).to_s]]
end
pool = Rack::Session::Redis.new(application, redis_server: "#{ENV['REDIS_URL']}/1/rack:session", expire_after: 100)
browser = Rack::MockRequest.new(pool)
cookie = ''
get = lambda do |path|
  response = browser.get(path, 'HTTP_COOKIE' => cookie)
  cookie = response['Set-Cookie'].split(';').first if response['Set-Cookie']
  response.body
end
check 3.times.map { get.call('/') } == %w[1 2 3], 'a session is kept'
db = Redis.new(url: "#{ENV['REDIS_URL']}/1")
key = db.keys('rack:session:*').first
check db.ttl(key) > 90, 'it expires'
db.pexpire(key, 50)
finish = Time.now + 10
check Time.now < finish, 'a session expires' while db.exists?(key)
check [get.call('/'), get.call('/'), get.call('/leave')] == %w[1 2 left], 'another begins'
check db.keys('rack:session:*').empty? && get.call('/') == '1', 'it is dropped'
