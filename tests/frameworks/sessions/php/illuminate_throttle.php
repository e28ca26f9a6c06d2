<?php
// php-illuminate-redis: Laravel's throttle of Redis (DurationLimiter), which keeps its count in a hash.
require 'Illuminate/Redis/autoload.php';

use Illuminate\Redis\RedisManager;

$server = ['host' => getenv('REDIS_HOST'), 'port' => (int) getenv('REDIS_PORT')];
$manager = new RedisManager(null, 'phpredis', ['default' => $server]);
$passed = 0;
for ($n = 0; $n < 3; $n++) {
    $manager->connection()->throttle('user')->allow(2)->every(60)->block(0)->then(function () use (&$passed) {
        $passed++;
    }, fn () => null);
}
if ($passed !== 2) {
    fwrite(STDERR, "Error: $passed of 3 passed\n");
    exit(1);
}
