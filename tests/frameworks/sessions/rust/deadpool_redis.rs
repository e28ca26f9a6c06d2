//! deadpool-redis: a pool that checks what it takes back, pipelines, scripts, and connections that were closed.

use std::env;
use std::error::Error;

use deadpool_redis::redis::{self, AsyncCommands, Script};
use deadpool_redis::{Config, Runtime};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("REDIS_URL")?;
    let mut config = Config::from_url(format!("{url}/2"));
    config.pool = Some(deadpool_redis::PoolConfig::new(2));
    let pool = config.create_pool(Some(Runtime::Tokio1))?;

    let mut db = pool.get().await?;
    let replies: (i64, Vec<Option<String>>) = redis::pipe()
        .mset(&[("a", "1"), ("b", "x")])
        .ignore()
        .incr("a", 4)
        .mget(&["a", "b", "none"])
        .query_async(&mut db)
        .await?;
    let expected = [Some("5".to_owned()), Some("x".to_owned()), None];
    assert_eq!(replies, (5, expected.to_vec()));
    let add = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    for sum in [2, 4] {
        let reply: i64 = add.key("sum").arg(2).invoke_async(&mut db).await?;
        assert_eq!(reply, sum);
    }

    // What one leaves behind, the next one does not see.
    redis::cmd("WATCH").arg("a").exec_async(&mut db).await?;
    let id: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut db).await?;
    drop(db);
    let mut db = pool.get().await?;
    let same: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut db).await?;
    assert_eq!(same, id);
    let mut other = pool.get().await?;
    other.set::<_, _, ()>("a", 10).await?;
    let (a,): (i64,) = redis::pipe()
        .atomic()
        .incr("a", 1)
        .query_async(&mut db)
        .await?;
    assert_eq!(a, 11);

    // One that was closed is replaced.
    redis::cmd("CLIENT")
        .arg(&["KILL", "ID", &id.to_string()])
        .exec_async(&mut other)
        .await?;
    drop(db);
    let mut db = pool.get().await?;
    assert_eq!(db.get::<_, i64>("a").await?, 11);
    let new: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut db).await?;
    assert_ne!(new, id);
    assert_eq!(pool.status().size, 2);
    Ok(())
}
