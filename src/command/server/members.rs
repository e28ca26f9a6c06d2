//! Commands of clusters whose log etcd keeps: who is a member, and who leads.
//!
//! In: requests. Out: the members; another leader. Promise: they are answered by each member, whoever leads.

use serde_json::json;

use crate::command::audit;
use crate::command::call::{Answer, Arguments, Call, Outcome, stream};
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::server::admin::ELSEWHERE;
use crate::command::spec::Flag::{LoadingOk, NotInMulti, Slow};
use crate::command::stream::{Pull, Pulled, Source};
use crate::model::Value;
use crate::protocol::{ErrorCode, ErrorReply, Reply};
use crate::replication::{ClusterView, Membership};

pub(in crate::command) const ROWS: &[Row] = &[
    Row::admin("MEMBERS", "", 0..=0, members)
        .flags(&[LoadingOk, Slow])
        .refused_in_cluster(ErrorCode::Denied, ELSEWHERE)
        .example("MEMBERS")
        .summary("List the members of the cluster whose log etcd keeps: state, revision, lag; and the cluster."),
    Row::admin("STEPDOWN", "", 0..=0, step_down)
        .flags(&[NotInMulti, Slow])
        .refused_in_cluster(ErrorCode::Denied, ELSEWHERE)
        .example("STEPDOWN")
        .summary("Let another member of the cluster lead, once the log has all changes."),
];

fn membership<'s>(call: &Call<'s, '_>) -> Result<&'s Membership, ErrorReply> {
    let membership = call.service.replication.membership.as_ref();
    membership.ok_or_else(|| bad_argument("this server is no member of a cluster (--etcd)"))
}

fn members(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    let membership = membership(call)?;
    let view = membership.view();
    let listed = list_members(&view, call.service.revision());
    if call.dialect.is_resp() {
        call.replies.reply(Reply::Array(listed.len()));
        for (name, fields) in &listed {
            call.replies.reply(Reply::Array(2));
            call.replies.reply(Reply::Value(name.as_bytes()));
            call.replies
                .reply(Reply::Value(fields.to_string().as_bytes()));
        }
        return Ok(Outcome::Done);
    }
    for (name, fields) in &listed {
        let text = fields.to_string();
        let value = Value::parse(text.as_bytes())?;
        call.replies.reply(Reply::Item(name.as_bytes(), value));
    }
    call.done(Reply::End(listed.len() as u64))
}

/// What the name of the cluster follows in the first row.
pub const CLUSTER_PREFIX: &str = "cluster ";

/// Returns a name and a JSON object for the cluster, which comes first, and each of its members.
#[must_use]
pub fn list_members(view: &ClusterView, revision: u64) -> Vec<(String, serde_json::Value)> {
    let leader = view.leader.as_ref();
    let newest = view.members.iter().map(|member| member.revision).max();
    let newest = newest.unwrap_or_default().max(revision);
    let cluster = json!({
        "leader": leader.map(|leader| &leader.address),
        "leading_since_ms": view.leading_since,
        "failovers": view.failovers,
        "lease_seconds": view.lease.as_secs(),
        "log_from": view.log_from,
        "log_bytes": view.log_bytes,
        "state": view.state.as_str(),
        "reason": view.reason,
    });
    let mut listed = vec![(format!("{CLUSTER_PREFIX}{}", view.name), cluster)];
    for member in &view.members {
        let fields = json!({
            "state": member.state,
            "revision": member.revision,
            "lag_revisions": newest.saturating_sub(member.revision),
            "on_disk": member.synced,
            "http": member.http,
            "version": member.version,
        });
        listed.push((member.address.clone(), fields));
    }
    listed
}

fn step_down(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    membership(call)?;
    audit::called(call, "");
    stream(StepDown)
}

/// The reply to STEPDOWN.
struct StepDown;

impl Source for StepDown {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        let replication = &pull.service.replication;
        let membership = replication.membership.as_ref();
        let membership = membership.ok_or_else(|| bad_argument("this server is no member"))?;
        pull.service.check_writable()?;
        membership.step_down().await.map_err(bad_argument)?;
        pull.replies.reply(Reply::Ok);
        Ok(Pulled::End)
    }
}
