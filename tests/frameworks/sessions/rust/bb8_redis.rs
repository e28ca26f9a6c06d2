//! bb8-redis: a pool of four for sixteen tasks, transactions, and a lock that a script releases.

use std::env;
use std::error::Error;
use std::time::Duration;

use bb8_redis::RedisConnectionManager;
use bb8_redis::bb8::Pool;
use bb8_redis::redis::{self, AsyncCommands, ExistenceCheck, Script, SetExpiry, SetOptions};

type Done<T> = Result<T, Box<dyn Error + Send + Sync>>;

const RELEASE: &str = "
    if redis.call('GET', KEYS[1]) == ARGV[1] then
        return redis.call('DEL', KEYS[1])
    end
    return 0";

#[tokio::main]
async fn main() -> Done<()> {
    let manager = RedisConnectionManager::new(format!("{}/1", env::var("REDIS_URL")?))?;
    let pool = Pool::builder().max_size(4).build(manager).await?;
    let tasks: Vec<_> = (0..16)
        .map(|task| tokio::spawn(count(pool.clone(), task)))
        .collect();
    for task in tasks {
        task.await??;
    }
    assert!(pool.state().connections <= 4);

    let mut db = pool.get().await?;
    assert_eq!(db.get::<_, i64>("count").await?, 16);
    let (sum, rest): (i64, Option<i64>) = redis::pipe()
        .atomic()
        .incr("count", 4)
        .del("count")
        .ignore()
        .get("count")
        .query_async(&mut *db)
        .await?;
    assert_eq!((sum, rest), (20, None));
    Ok(())
}

/// Reads, adds one and writes, while it has the lock.
async fn count(pool: Pool<RedisConnectionManager>, task: u32) -> Done<()> {
    let lock = SetOptions::default()
        .conditional_set(ExistenceCheck::NX)
        .with_expiration(SetExpiry::PX(30000));
    loop {
        let mut db = pool.get().await?;
        if db
            .set_options::<_, _, bool>("lock", task, lock.clone())
            .await?
        {
            break;
        }
        drop(db);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut db = pool.get().await?;
    let n: Option<i64> = db.get("count").await?;
    db.set::<_, _, ()>("count", n.unwrap_or(0) + 1).await?;
    let release = Script::new(RELEASE);
    let mut release = release.key("lock");
    let by_another: i64 = release.arg(task + 100).invoke_async(&mut *db).await?;
    assert_eq!(by_another, 0);
    let release = Script::new(RELEASE);
    let by_owner: i64 = release.key("lock").arg(task).invoke_async(&mut *db).await?;
    assert_eq!(by_owner, 1);
    Ok(())
}
