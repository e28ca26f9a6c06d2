//! fred: pipelines, transactions with WATCH, Script, SCAN, pub/sub, a pool.

use std::env;

use fred::prelude::*;
use fred::types::scripts::Script;
use futures_util::TryStreamExt;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let url = env::var("REDIS_URL").expect("REDIS_URL");
    let config = Config::from_url(&format!("{url}/1"))?;
    let db = Builder::from_config(config.clone()).build()?;
    db.init().await?;
    let once = Some(SetOptions::NX);
    let set: Option<String> = db
        .set(
            "name",
            "Ada",
            Some(Expiration::EX(100)),
            once.clone(),
            false,
        )
        .await?;
    assert_eq!(set.as_deref(), Some("OK"));
    let set: Option<String> = db.set("name", "Bob", None, once, false).await?;
    assert_eq!(set, None);
    assert!(db.ttl::<i64, _>("name").await? > 90);
    db.mset(vec![("a", 1), ("b", 2)]).await?;
    let numbers: Vec<Option<i64>> = db.mget(vec!["a", "b", "none"]).await?;
    assert_eq!(numbers, [Some(1), Some(2), None]);

    let pipeline = db.pipeline();
    let _: () = pipeline.incr("n").await?;
    let _: () = pipeline.incr("name").await?;
    let _: () = pipeline.get("n").await?;
    let replies = pipeline.try_all::<i64>().await;
    assert!(replies[1].is_err());
    assert_eq!((replies[0].clone()?, replies[2].clone()?), (1, 1));

    let other = Builder::from_config(config.clone()).build()?;
    other.init().await?;
    db.watch("n").await?;
    let _: () = other.set("n", 10, None, None, false).await?;
    let transaction = db.multi();
    let _: () = transaction.incr("n").await?;
    let refused: Option<i64> = transaction.exec(false).await?;
    assert_eq!(refused, None);
    let transaction = db.multi();
    let _: () = transaction.incr("n").await?;
    let _: () = transaction.get("n").await?;
    assert_eq!(
        transaction.exec::<(i64, String)>(true).await?,
        (11, "11".to_owned())
    );

    let add = Script::from_lua("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    assert_eq!(
        add.evalsha_with_reload::<i64, _, _>(&db, "sum", 2).await?,
        2
    );
    assert_eq!(add.evalsha::<i64, _, _, _>(&db, "sum", 3).await?, 5);
    let mut found: Vec<Key> = db.scan_buffered("n*", None, None).try_collect().await?;
    found.sort();
    assert_eq!(found, [Key::from("n"), Key::from("name")]);

    let mut messages = other.message_rx();
    other.psubscribe("ne*").await?;
    // It has subscribed some time after it says so.
    while db.publish::<i64, _, _>("news", "hello").await? == 0 {}
    let message = messages.recv().await.expect("a message");
    assert_eq!(
        (
            message.channel.to_string(),
            message.value.convert::<String>()?
        ),
        ("news".to_owned(), "hello".to_owned())
    );
    other.quit().await?;
    db.quit().await?;

    let pool = Builder::from_config(config).build_pool(3)?;
    pool.init().await?;
    let tasks: Vec<_> = (0..12)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.incr::<i64, _>("count").await })
        })
        .collect();
    for task in tasks {
        task.await.expect("a task")?;
    }
    assert_eq!(pool.get::<i64, _>("count").await?, 12);
    pool.quit().await
}
