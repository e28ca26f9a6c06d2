<?php
// php-symfony-lock: RedisStore: acquire, refuse, refresh, expiry.
require 'check.php';
require 'Symfony/Component/Lock/autoload.php';

use Symfony\Component\Lock\LockFactory;
use Symfony\Component\Lock\Store\RedisStore;

$db = new Redis();
$db->connect(getenv('REDIS_HOST'), (int) getenv('REDIS_PORT'));
$factory = new LockFactory(new RedisStore($db));
[$mine, $other] = [$factory->createLock('job', 30), $factory->createLock('job', 30)];
check($mine->acquire() && !$other->acquire(), 'acquired once');
$mine->refresh(60);
check($mine->getRemainingLifetime() > 50 && $mine->isAcquired() && !$other->isAcquired(), 'refreshed');
$mine->release();
check($other->acquire(), 'released');
$other->release();
$factory->createLock('job', 0.1, false)->acquire();
$end = microtime(true) + 10;
while (!$mine->acquire()) {
    check(microtime(true) < $end, 'a lock expires');
}
