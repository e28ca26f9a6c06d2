// golang-github-boj-redistore-dev: gorilla's sessions in Redis: written, read, expired, deleted.
package main

import (
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/boj/redistore"
	"github.com/gomodule/redigo/redis"
)

func main() {
	store, err := redistore.NewRediStore(4, "tcp", os.Getenv("REDIS_HOST")+":"+os.Getenv("REDIS_PORT"), "", []byte("secret"))
	check(err == nil, err)
	defer store.Close()
	cookie := ""
	visit := func(leave bool) int {
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.Header.Set("Cookie", cookie)
		response := httptest.NewRecorder()
		session, err := store.Get(request, "session")
		check(err == nil, err)
		visits, _ := session.Values["visits"].(int)
		session.Values["visits"] = visits + 1
		if leave {
			session.Options.MaxAge = -1
		}
		check(session.Save(request, response) == nil, "saved")
		cookie = response.Header().Get("Set-Cookie")
		return visits + 1
	}
	check(visit(false) == 1 && visit(false) == 2 && visit(false) == 3, "a session is kept")
	db := store.Pool.Get()
	defer db.Close()
	keys, _ := redis.Strings(db.Do("KEYS", "session_*"))
	ttl, _ := redis.Int(db.Do("TTL", keys[0]))
	check(len(keys) == 1 && ttl > 1000, "it expires", keys, ttl)
	visit(true)
	keys, _ = redis.Strings(db.Do("KEYS", "session_*"))
	check(len(keys) == 0, "it is deleted")
	cookie = ""
	check(visit(false) == 1, "another begins")
}
