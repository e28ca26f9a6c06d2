<?php
// In: the driver, phpredis or predis, and options of Laravel's connections. Out: these connections, with Laravel's Redis and Cache loaded.
require_once 'check.php';
require_once 'Illuminate/Redis/autoload.php';
require_once 'Illuminate/Cache/autoload.php';

use Illuminate\Redis\RedisManager;

function manager(string $driver, array $options = []): RedisManager
{
    $server = ['host' => getenv('REDIS_HOST'), 'port' => (int) getenv('REDIS_PORT'), 'database' => 1];
    return new RedisManager(null, $driver, ['default' => $server, 'options' => $options]);
}
