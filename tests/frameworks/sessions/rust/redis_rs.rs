//! redis: options of SET, pipelines, transactions with WATCH, Script, SCAN, databases, pub/sub, ConnectionManager.

use std::env;
use std::time::{Duration, Instant};

use redis::{
    AsyncCommands, Client, Commands, ExistenceCheck, RedisResult, Script, SetExpiry, SetOptions,
};

fn main() -> RedisResult<()> {
    let url = env::var("REDIS_URL").expect("REDIS_URL");
    blocking(&url)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(with_tokio(&url))
}

fn blocking(url: &str) -> RedisResult<()> {
    let client = Client::open(url)?;
    let mut db = client.get_connection()?;
    let mut other = client.get_connection()?;
    let once = SetOptions::default()
        .conditional_set(ExistenceCheck::NX)
        .with_expiration(SetExpiry::EX(100));
    assert!(db.set_options::<_, _, bool>("name", "Ada", once.clone())?);
    assert!(!db.set_options::<_, _, bool>("name", "Bob", once)?);
    assert!(db.get::<_, String>("name")? == "Ada" && db.ttl::<_, i64>("name")? > 90);

    let replies: (i64, String) = redis::pipe()
        .set("n", 1)
        .ignore()
        .incr("n", 1)
        .get("n")
        .query(&mut db)?;
    assert_eq!(replies, (2, "2".to_owned()));
    let replies: (Vec<Option<i64>>,) = redis::pipe()
        .atomic()
        .mset(&[("a", 1), ("b", 2)])
        .ignore()
        .mget(&["a", "b", "none"])
        .query(&mut db)?;
    assert_eq!(replies.0, [Some(1), Some(2), None]);
    assert!(
        redis::pipe()
            .atomic()
            .incr("name", 1)
            .exec(&mut db)
            .is_err()
    );

    // Another changes what is watched, and it is tried again.
    let mut tries = 0;
    let (sum,): (i64,) = redis::transaction(&mut db, &["n"], |db, pipe| {
        tries += 1;
        let n: i64 = db.get("n")?;
        if tries == 1 {
            other.set::<_, _, ()>("n", 10)?;
        }
        pipe.set("n", n + 1).ignore().get("n").query(db)
    })?;
    assert_eq!((sum, tries), (11, 2));

    let add = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    assert_eq!(add.key("sum").arg(2).invoke::<i64>(&mut db)?, 2);
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut db)?;
    assert_eq!(add.key("sum").arg(3).invoke::<i64>(&mut db)?, 5);

    let mut found = db.scan_match("n*")?.collect::<RedisResult<Vec<String>>>()?;
    found.sort();
    assert_eq!(found, ["n", "name"]);
    let mut second = Client::open(format!("{url}/1"))?.get_connection()?;
    assert!(!second.exists::<_, bool>("name")?);

    let mut listener = other.as_pubsub();
    listener.set_read_timeout(Some(Duration::from_secs(10)))?;
    listener.psubscribe("ne*")?;
    assert_eq!(db.publish::<_, _, i64>("news", "hello")?, 1);
    let message = listener.get_message()?;
    assert_eq!(message.get_payload::<String>()?, "hello");
    assert_eq!(message.get_channel_name(), "news");
    Ok(())
}

async fn with_tokio(url: &str) -> RedisResult<()> {
    let client = Client::open(url)?;
    let mut db = client.get_connection_manager().await?;
    // Eight count over one connection.
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let mut db = db.clone();
            tokio::spawn(async move { db.incr::<_, _, i64>("count", 1).await })
        })
        .collect();
    for task in tasks {
        task.await.expect("a task")?;
    }
    let replies: (i64, i64) = redis::pipe()
        .atomic()
        .incr("count", 1)
        .incr("count", 1)
        .query_async(&mut db)
        .await?;
    assert_eq!(replies, (9, 10));

    // It connects again after its connection was closed.
    let id: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut db).await?;
    let mut other = client.get_multiplexed_async_connection().await?;
    redis::cmd("CLIENT")
        .arg(&["KILL", "ID", &id.to_string()])
        .exec_async(&mut other)
        .await?;
    let end = Instant::now() + Duration::from_secs(10);
    while db.get::<_, i64>("count").await.ok() != Some(10) {
        assert!(Instant::now() < end, "it does not connect again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let now: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut db).await?;
    assert_ne!(now, id);
    Ok(())
}
