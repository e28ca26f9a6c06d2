//! fred: RESP3, which it asks for by a line: pairs, a transaction, pub/sub.

use std::env;

use fred::prelude::*;
use fred::types::RespVersion;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut config = Config::from_url(&env::var("REDIS_URL").expect("REDIS_URL"))?;
    config.version = RespVersion::RESP3;
    let db = Builder::from_config(config.clone()).build()?;
    db.init().await?;
    let _: () = db.set("name", "Ada", None, None, false).await?;
    let transaction = db.multi();
    let _: () = transaction.get("name").await?;
    let _: () = transaction.get("none").await?;
    let found: (String, Option<String>) = transaction.exec(true).await?;
    assert_eq!(found, ("Ada".to_owned(), None));

    let other = Builder::from_config(config).build()?;
    other.init().await?;
    let mut messages = other.message_rx();
    other.subscribe("news").await?;
    // It has subscribed some time after it says so.
    while db.publish::<i64, _, _>("news", "hello").await? == 0 {}
    let message = messages.recv().await.expect("a message");
    assert_eq!(message.value.convert::<String>()?, "hello");
    Ok(())
}
