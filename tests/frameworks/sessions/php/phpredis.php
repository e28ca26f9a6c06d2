<?php
// php-redis: strings, pipelines, WATCH, scripts, serializers, SCAN, databases.
require 'check.php';

function client(): Redis
{
    $client = new Redis();
    $client->connect(getenv('REDIS_HOST'), (int) getenv('REDIS_PORT'));
    return $client;
}

$db = client();
check($db->set('name', 'Ada', ['nx', 'ex' => 100]) && !$db->set('name', 'Bob', ['nx']), 'SET NX');
check($db->get('name') === 'Ada' && $db->ttl('name') > 90 && $db->get('none') === false, 'GET');
check($db->mset(['a' => '1', 'b' => 'x']) && $db->mget(['a', 'b', 'none']) === ['1', 'x', false], 'MSET');
check($db->incrBy('a', 4) === 5 && $db->incrByFloat('a', 0.5) === 5.5 && $db->append('b', 'y') === 2, 'INCR');
check($db->multi()->set('n', 1)->incr('n')->get('n')->exec() === [true, 2, '2'], 'MULTI');
check($db->multi(Redis::PIPELINE)->incr('n')->get('none')->exec() === [3, false], 'a pipeline');
$db->watch('n');
client()->set('n', 10);
check($db->multi()->incr('n')->exec() === false && $db->get('n') === '10', 'WATCH');
$script = "return redis.call('INCRBY', KEYS[1], ARGV[1])";
check($db->eval($script, ['sum', 2], 1) === 2 && $db->evalSha(sha1($script), ['sum', 3], 1) === 5, 'EVAL');
check($db->evalSha(sha1('return 1')) === false && str_starts_with($db->getLastError(), 'NOSCRIPT'), 'NOSCRIPT');

$db->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
$found = [];
$cursor = null;
while ($keys = $db->scan($cursor, 'n*')) {
    $found = [...$found, ...$keys];
}
sort($found);
check($found === ['n', 'name'], 'SCAN');
$db->select(1);
check($db->get('name') === false && $db->dbSize() === 0, 'SELECT');
$db->setOption(Redis::OPT_SERIALIZER, Redis::SERIALIZER_PHP);
$db->setOption(Redis::OPT_PREFIX, 'app:');
check($db->set('user', ['x' => [1, null]]) && $db->get('user') === ['x' => [1, null]] && $db->keys('*') === ['app:user'], 'a serializer');
check($db->del('user') === 1 && $db->unlink('user') === 0, 'DEL');
