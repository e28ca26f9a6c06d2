<?php
// php-symfony-cache: RedisAdapter: get, items, expiry, namespaces, clear; with phpredis and predis.
require 'check.php';
require 'Symfony/Component/Cache/autoload.php';
require_once 'Predis/autoload.php';

use Symfony\Component\Cache\Adapter\RedisAdapter;

foreach ([Redis::class, Predis\Client::class] as $class) {
    $connection = RedisAdapter::createConnection(getenv('REDIS_URL') . '/1', ['class' => $class]);
    $cache = new RedisAdapter($connection, 'app', 60);
    $other = new RedisAdapter($connection, 'other', 60);
    $calls = 0;
    $compute = function ($item) use (&$calls) {
        $item->expiresAfter(100);
        return ['call' => ++$calls];
    };
    check($cache->get('slow', $compute) === ['call' => 1] && $cache->get('slow', $compute) === ['call' => 1], "$class: get");
    check($cache->save($cache->getItem('a')->set([1, null])) && $cache->getItem('a')->get() === [1, null], "$class: save");
    $cache->saveDeferred($cache->getItem('b')->set('x'));
    $cache->saveDeferred($cache->getItem('c')->set('y')->expiresAfter(1));
    check($cache->commit() && $cache->hasItem('b') && count([...$cache->getItems(['a', 'b', 'none'])]) === 3, "$class: commit");
    $other->save($other->getItem('a')->set('of another'));
    $end = microtime(true) + 10;
    while ($cache->hasItem('c')) {
        check(microtime(true) < $end, "$class: an entry expires");
    }
    check($cache->deleteItem('a') && !$cache->hasItem('a') && $cache->clear() && !$cache->hasItem('b'), "$class: clear");
    check($other->getItem('a')->get() === 'of another', "$class: the entries of others stay");
    $other->clear();
}
