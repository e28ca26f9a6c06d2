//! rslock: a lock in three databases: acquire, refuse, extend, release, using, expiry.

use std::env;
use std::error::Error;
use std::time::Duration;

use rslock::LockManager;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("REDIS_URL")?;
    let mut locks = LockManager::new((0..3).map(|n| format!("{url}/{n}")).collect());
    locks.set_retry(1, Duration::from_millis(20));
    let long = Duration::from_secs(30);

    let lock = locks.lock("job", long).await?;
    assert!(locks.lock("job", long).await.is_err());
    assert!(!locks.is_freed(&lock).await?);
    let lock = locks.extend(&lock, 2 * long).await?;
    assert!(lock.validity_time > 50000);
    locks.unlock(&lock).await;
    assert!(locks.is_freed(&lock).await.is_err());

    let done = locks
        .using(b"job", long, async || {
            locks.lock("job", long).await.is_err()
        })
        .await?;
    assert!(done);

    // One that expires is free for another, and lost for its owner.
    let short = locks.lock("short", Duration::from_millis(100)).await?;
    let next = locks.acquire("short", long).await?;
    assert!(locks.extend(&short, long).await.is_err());
    next.release().await;
    Ok(())
}
