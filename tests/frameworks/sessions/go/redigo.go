// golang-github-gomodule-redigo-dev: pools, pipelines, WATCH, scripts, pub/sub, databases.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/gomodule/redigo/redis"
)

func main() {
	pool := &redis.Pool{
		MaxIdle:      4,
		Dial:         func() (redis.Conn, error) { return redis.DialURL(os.Getenv("REDIS_URL") + "/1") },
		TestOnBorrow: func(connection redis.Conn, _ time.Time) error { _, err := connection.Do("PING"); return err },
	}
	db := pool.Get()
	defer db.Close()
	_, err := redis.String(db.Do("SET", "name", "Ada", "EX", 100, "NX"))
	check(err == nil, err)
	_, err = redis.String(db.Do("SET", "name", "Bob", "NX"))
	check(err == redis.ErrNil, "SET NX", err)
	ttl, _ := redis.Int(db.Do("TTL", "name"))
	check(ttl > 90, "TTL", ttl)
	_, err = db.Do("MSET", redis.Args{}.AddFlat(map[string]int{"a": 1, "b": 2})...)
	check(err == nil, err)
	numbers, _ := redis.Ints(db.Do("MGET", "a", "b", "none"))
	check(fmt.Sprint(numbers) == "[1 2 0]", "MGET", numbers)

	check(db.Send("INCR", "a") == nil && db.Send("GET", "a") == nil && db.Flush() == nil, "a pipeline")
	two, _ := redis.Int(db.Receive())
	text, _ := redis.String(db.Receive())
	check(two == 2 && text == "2", "a pipeline", two, text)
	other := pool.Get()
	defer other.Close()
	db.Do("WATCH", "a")
	other.Do("SET", "a", 10)
	db.Send("MULTI")
	db.Send("INCR", "a")
	reply, err := db.Do("EXEC")
	check(reply == nil && err == nil, "WATCH", reply, err)
	add := redis.NewScript(1, "return redis.call('INCRBY', KEYS[1], ARGV[1])")
	first, _ := redis.Int(add.Do(db, "sum", 2))
	second, err := redis.Int(add.Do(db, "sum", 3))
	check(first == 2 && second == 5, "a script", err)

	listener := redis.PubSubConn{Conn: pool.Get()}
	defer listener.Close()
	check(listener.Subscribe("news") == nil, "SUBSCRIBE")
	_, subscribed := listener.ReceiveWithTimeout(5 * time.Second).(redis.Subscription)
	check(subscribed, "SUBSCRIBE")
	db.Do("PUBLISH", "news", "hello")
	message, received := listener.ReceiveWithTimeout(5 * time.Second).(redis.Message)
	check(received && string(message.Data) == "hello", "a message")
}
