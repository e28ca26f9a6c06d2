// golang-gopkg-redis.v5-dev: go-redis 5: pipelines, WATCH, scripts, SCAN, pub/sub, databases.
package main

import (
	"fmt"
	"os"
	"time"

	redis "gopkg.in/redis.v5"
)

func main() {
	options, err := redis.ParseURL(os.Getenv("REDIS_URL") + "/2")
	check(err == nil, err)
	db := redis.NewClient(options)
	defer db.Close()
	check(db.SetNX("name", "Ada", 100*time.Second).Val() && !db.SetNX("name", "Bob", 0).Val(), "SETNX")
	check(db.TTL("name").Val() > 90*time.Second && db.Get("none").Err() == redis.Nil, "TTL")
	check(db.MSet("a", 1, "b", 2).Err() == nil && fmt.Sprint(db.MGet("a", "b", "none").Val()) == "[1 2 <nil>]", "MGET")
	pipe := db.TxPipeline()
	first, second := pipe.Incr("a"), pipe.Get("a")
	_, err = pipe.Exec()
	check(err == nil && first.Val() == 2 && second.Val() == "2", "a pipeline", err)
	err = db.Watch(func(transaction *redis.Tx) error {
		db.Set("a", 10, 0)
		_, err := transaction.Pipelined(func(pipe *redis.Pipeline) error { pipe.Incr("a"); return nil })
		return err
	}, "a")
	check(err == redis.TxFailedErr, "WATCH", err)
	add := redis.NewScript("return redis.call('INCRBY', KEYS[1], ARGV[1])")
	check(fmt.Sprint(add.Run(db, []string{"sum"}, 2).Val(), add.Run(db, []string{"sum"}, 3).Val()) == "2 5", "a script")
	count := 0
	for keys := db.Scan(0, "[ab]", 1).Iterator(); keys.Next(); {
		count++
	}
	check(count == 2, "SCAN", count)
	listener, err := db.Subscribe("news")
	check(err == nil, err)
	defer listener.Close()
	end := time.Now().Add(10 * time.Second)
	for db.Publish("news", "hello").Val() == 0 {
		check(time.Now().Before(end), "SUBSCRIBE")
	}
	message, err := listener.ReceiveMessage()
	check(err == nil && message.Payload == "hello", "a message", err)
}
