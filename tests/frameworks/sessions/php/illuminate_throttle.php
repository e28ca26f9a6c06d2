<?php
// php-illuminate-redis: Laravel's throttle of Redis (DurationLimiter), which keeps its count in a hash.
require 'illuminate.php';

$manager = manager('phpredis');
$passed = 0;
for ($n = 0; $n < 3; $n++) {
    $manager->connection()->throttle('user')->allow(2)->every(60)->block(0)->then(function () use (&$passed) {
        $passed++;
    }, fn () => null);
}
check($passed === 2, "$passed of 3 passed");
