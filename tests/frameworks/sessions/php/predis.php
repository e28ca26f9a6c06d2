<?php
// php-predis: pipelines, transactions with WATCH, scripts as commands, iterators, a prefix.
require 'check.php';
require 'Predis/autoload.php';

class Add extends Predis\Command\ScriptCommand
{
    public function getKeysCount()
    {
        return 1;
    }

    public function getScript()
    {
        return "return redis.call('INCRBY', KEYS[1], ARGV[1])";
    }
}

$server = ['host' => getenv('REDIS_HOST'), 'port' => (int) getenv('REDIS_PORT')];
$db = new Predis\Client($server + ['database' => 2], ['prefix' => 'app:']);
$plain = new Predis\Client($server + ['database' => 2]);
check((string) $db->set('name', 'Ada', 'EX', 100, 'NX') === 'OK' && $db->set('name', 'Bob', 'NX') === null, 'SET NX');
check($db->get('name') === 'Ada' && $plain->get('app:name') === 'Ada' && $db->ttl('name') > 90, 'GET');
$replies = $db->pipeline(function ($pipe) {
    $pipe->mset(['a' => 1, 'b' => 2]);
    $pipe->mget(['a', 'b', 'none']);
    $pipe->incr('a');
});
check($replies[1] === ['1', '2', null] && $replies[2] === 2, 'a pipeline');
$result = $db->transaction(['cas' => true, 'watch' => 'a', 'retry' => 3], function ($transaction) {
    $a = $transaction->get('a');
    $transaction->multi();
    $transaction->set('a', 10 * $a);
});
check(count($result) === 1 && $db->get('a') === '20', 'a transaction');
$db->getProfile()->defineCommand('add', 'Add');
check($db->add('sum', 2) === 2 && $db->add('sum', 3) === 5, 'a script');
$found = iterator_to_array(new Predis\Collection\Iterator\Keyspace($plain, 'app:[ab]'), false);
sort($found);
check($found === ['app:a', 'app:b'], 'SCAN');
try {
    $db->incr('name');
    check(false, 'no error');
} catch (Predis\Response\ServerException $error) {
    check(str_contains($error->getMessage(), 'not an integer'), $error->getMessage());
}
check($db->del(['a', 'b']) === 2, 'DEL');
