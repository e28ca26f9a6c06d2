<?php
// php-illuminate-cache: Laravel's cache and locks: put, remember, many, increment, add, lock, block, restore, flush.
require 'illuminate.php';

use Illuminate\Cache\RedisStore;
use Illuminate\Cache\Repository;
use Illuminate\Contracts\Cache\LockTimeoutException;

foreach (['phpredis', 'predis'] as $driver) {
    $manager = manager($driver, ['prefix' => 'laravel:']);
    $store = new RedisStore($manager, "$driver:", 'default');
    $cache = new Repository($store);
    check($cache->put('user', ['name' => 'Ada'], 100) && $cache->get('user') === ['name' => 'Ada'], "$driver: put");
    $calls = 0;
    $compute = function () use (&$calls) {
        return ++$calls;
    };
    check($cache->remember('n', 60, $compute) === 1 && (int) $cache->remember('n', 60, $compute) === 1, "$driver: remember");
    check($cache->putMany(['a' => 1, 'b' => 'x'], 60) && $cache->many(['a', 'b', 'none']) == ['a' => 1, 'b' => 'x', 'none' => null], "$driver: many");
    check($cache->increment('a', 4) == 5 && $cache->decrement('a') == 4, "$driver: increment");
    check($cache->add('new', 1, 60) && !$cache->add('new', 2, 60), "$driver: add");
    check($cache->forever('kept', 1) && $cache->pull('kept') == 1 && !$cache->has('kept'), "$driver: pull");

    $lock = $store->lock('job', 30);
    $other = $store->lock('job', 30);
    check($lock->get() && !$other->get() && !$other->release(), "$driver: a lock");
    check($store->restoreLock('job', $lock->owner())->release(), "$driver: a lock is restored by its owner");
    check($other->get(fn () => 'done') === 'done', "$driver: a lock around a function");
    $store->lock('job', 1)->get();
    check($other->block(5), "$driver: a lock expires while another waits");
    try {
        $lock->block(0);
        check(false, "$driver: no LockTimeoutException");
    } catch (LockTimeoutException) {
        $other->forceRelease();
    }
    check($cache->forget('b') && $cache->get('b') === null && $cache->flush() && $cache->get('user') === null, "$driver: flush");
}
