// The members of the cluster whose log etcd keeps: who leads, and how far each is.

import { ask, bytes, clock, count, counted, find, make } from "./page.js";

let isAsking = false;

const isWeb = (url) => /^https?:\/\//.test(url ?? "");

function row(member) {
  const { address, http, state, revision, lag_revisions: behind, on_disk: onDisk, version } = member;
  const name = isWeb(http) && new URL(http).host !== location.host ? make("a", { href: http }, address) : address;
  const isWell = state === "leading" || state === "following";
  return make("tr", {},
    make("td", {}, name),
    make("td", isWell ? {} : { class: "bad" }, state),
    make("td", { class: "number" }, count(revision)),
    make("td", { class: "number" }, count(behind)),
    make("td", { class: "number" }, count(Math.max(0, revision - onDisk))),
    make("td", {}, version));
}

function sentence(cluster) {
  const { leader, leading_since_ms: since, lease_seconds: lease, log_bytes: log, failovers, state, reason } = cluster;
  const parts = [leader === null ? "nobody leads at the moment" : since > 0 ? `${leader} leads since ${clock(since)}` : `${leader} leads`,
    `lease ${lease} s`];
  if (state === "leading") {
    parts.push(`${bytes(log)} in the log`);
  }
  if (failovers > 0) {
    parts.push(`${counted(failovers, "change")} of the leader seen by this server`);
  }
  return `${cluster.name}: ${parts.join("; ")}.${reason === null ? "" : ` ${reason}.`}`;
}

/** Shows the members, if the server is one of several. */
export async function showMembers(figures) {
  const isMember = figures.member_state !== null;
  find("members-view").hidden = !isMember;
  if (!isMember || isAsking || document.hidden || find("overview").hidden) {
    return;
  }
  isAsking = true;
  try {
    const { answer } = await ask("/api/v1/members");
    find("members-note").textContent = sentence(answer.cluster);
    find("members-note").classList.toggle("bad", answer.cluster.leader === null || answer.cluster.reason !== null);
    find("members").replaceChildren(...answer.members.map(row));
  } catch (error) {
    find("members-note").textContent = error.message;
    find("members").replaceChildren();
  } finally {
    isAsking = false;
  }
}
