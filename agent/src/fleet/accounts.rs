//! What each agent of a fleet holds and did, as it knows it itself: the reference that others are measured by.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::counts::Did;
use super::{Fleet, Virtual};

impl Fleet {
    /// One JSON object for each agent: its id, whether it is online, the rows of its ledger as a real agent has them on
    /// disk (`groups`, `in_force`, `lanes`, `edges`), the tasks whose results are not confirmed, and in `did` how often
    /// it did, well and badly, what a task asks; that is empty unless the settings ask for a diary.
    pub fn accounts(&self) -> impl Iterator<Item = Value> + '_ {
        let mut diary = self.0.counts.diary();
        self.0.agents.iter().map(move |agent| account(agent, &diary.remove(&agent.number).unwrap_or_default()))
    }
}

fn account(agent: &Virtual, did: &BTreeMap<String, Did>) -> Value {
    let mind = agent.mind();
    let state = mind.core.state();
    let unconfirmed: Vec<&str> = state.results.iter().map(|pending| pending.result.request_id.as_str()).collect();
    let did: BTreeMap<_, _> =
        did.iter().map(|(task, did)| (task, json!({ "good": did.good, "bad": did.bad }))).collect();
    json!({
        "agent": agent.id(), "online": agent.is_online(), "groups": state.groups, "in_force": state.in_force,
        "lanes": state.lanes, "edges": state.edges, "unconfirmed": unconfirmed, "did": did,
    })
}
