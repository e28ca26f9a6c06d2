<?php
// php-redis: its session handler with locking: written, read, locked, destroyed, expired.
require 'check.php';
$db = new Redis();
$db->connect(getenv('REDIS_HOST'), (int) getenv('REDIS_PORT'));
ini_set('session.save_handler', 'redis');
ini_set('session.save_path', 'tcp://' . getenv('REDIS_HOST') . ':' . getenv('REDIS_PORT') . '?database=1&prefix=app:');
ini_set('session.gc_maxlifetime', '100');
ini_set('session.use_cookies', '0');
ini_set('session.cache_limiter', '');
ini_set('redis.session.locking_enabled', '1');
ini_set('redis.session.lock_expire', '10');
ini_set('redis.session.lock_wait_time', '10000');
ini_set('redis.session.lock_retries', '-1');
ob_start();

$db->select(1);
session_id('ada');
check(session_start(), 'a session starts');
check($db->exists('app:ada_LOCK') === 1, 'it is locked');
$_SESSION['visits'] = 1;
check(session_write_close(), 'it is written');
check($db->exists('app:ada_LOCK') === 0 && $db->ttl('app:ada') > 90, 'it is released, and expires');
session_start();
check($_SESSION['visits'] === 1, 'it is read');
$_SESSION['visits'] = 2;
session_write_close();

// Somebody else has it: it is opened when the lock of another has expired.
$db->set('app:ada_LOCK', 'another', ['px' => 200]);
$begin = microtime(true);
check(session_start() && microtime(true) - $begin > 0.15, 'it waits for the lock of another');
check($_SESSION['visits'] === 2, 'as it was');
session_destroy();
check($db->exists('app:ada') === 0, 'it is destroyed');
