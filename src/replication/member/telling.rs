//! What the members tell each other.
//!
//! In: the state of this server. Out: a key in etcd that ends with it, and what the others have told. Promise: nothing is written to etcd while nothing
//! changes here.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::etcd::Etcd;
use crate::engine::Engine;
use crate::replication::membership::MemberInfo;
use crate::replication::status::Replication;

/// Interval of looks whether there is anything new to tell, and of looks at what the others tell.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
const LIST_INTERVAL: Duration = Duration::from_secs(1);

/// Tells the others of this server, and notes what they tell, until it is dropped.
pub async fn tell_always(
    mut etcd: Etcd,
    engine: Arc<Engine>,
    status: Arc<Replication>,
    mut info: MemberInfo,
) {
    let membership = status.membership.as_ref();
    let membership = membership.expect("a member has a membership");
    let mut lease = None;
    let mut listed_at: Option<Instant> = None;
    let mut is_new = true;
    loop {
        let before = (info.revision, info.synced, std::mem::take(&mut info.state));
        info.revision = engine.revision();
        info.synced = engine.synced();
        membership.view().state.as_str().clone_into(&mut info.state);
        is_new |= before != (info.revision, info.synced, info.state.clone());
        if is_new || listed_at.is_none_or(|at| at.elapsed() >= LIST_INTERVAL) {
            let value = serde_json::to_vec(&info).expect("plain fields are always JSON");
            let told = etcd.tell(&info.address, &value, is_new, &mut lease).await;
            if let Ok(members) = told {
                is_new = false;
                listed_at = Some(Instant::now());
                let members = members.iter();
                let members = members.filter_map(|member| serde_json::from_slice(member).ok());
                let members: Vec<MemberInfo> = members.collect();
                membership.update(|view| view.members = members);
            }
        }
        sleep(LOOK_INTERVAL).await;
    }
}
