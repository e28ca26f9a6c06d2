<?php
// php-illuminate-redis: Laravel's limiters: Cache\RateLimiter, the funnel of Redis.
require 'illuminate.php';

use Illuminate\Cache\RateLimiter;
use Illuminate\Cache\RedisStore;
use Illuminate\Cache\Repository;

$manager = manager('phpredis');
$limiter = new RateLimiter(new Repository(new RedisStore($manager, 'limit:')));
$passed = 0;
for ($n = 0; $n < 5; $n++) {
    $limiter->attempt('user', 3, function () use (&$passed) {
        $passed++;
    }, 60);
}
check($passed === 3 && $limiter->tooManyAttempts('user', 3) && $limiter->availableIn('user') > 50, 'the fourth is refused');
$limiter->clear('user');
check($limiter->remaining('user', 3) === 3, 'cleared');

$inner = null;
$manager->connection()->funnel('job')->limit(1)->releaseAfter(10)->block(0)->then(function () use ($manager, &$inner) {
    $manager->connection()->funnel('job')->limit(1)->block(0)->then(function () use (&$inner) {
        $inner = 'entered';
    }, function () use (&$inner) {
        $inner = 'refused';
    });
});
check($inner === 'refused', 'a funnel lets one in');
