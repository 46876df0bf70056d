//! The files under `nats/`, compiled in: the one list of what there is.

/// A stream or bucket, in the form that `nats stream add --config` takes.
pub(super) const STREAMS: &[&str] = &[
    include_str!("../../../../nats/streams/TASKS.json"),
    include_str!("../../../../nats/streams/COMMANDS.json"),
    include_str!("../../../../nats/streams/RUNS.json"),
    include_str!("../../../../nats/streams/RESULTS.json"),
    include_str!("../../../../nats/streams/SCHEDULE.json"),
    include_str!("../../../../nats/streams/DEAD.json"),
    include_str!("../../../../nats/streams/OBJ_packages.json"),
    include_str!("../../../../nats/streams/OBJ_content.json"),
    include_str!("../../../../nats/buckets/KV_agents.json"),
    include_str!("../../../../nats/buckets/KV_nodes.json"),
    include_str!("../../../../nats/buckets/KV_groups.json"),
    include_str!("../../../../nats/buckets/KV_packages.json"),
    include_str!("../../../../nats/buckets/KV_server-configuration.json"),
    include_str!("../../../../nats/buckets/KV_rbac.json"),
    include_str!("../../../../nats/buckets/KV_rulesets.json"),
    include_str!("../../../../nats/buckets/KV_cve.json"),
    include_str!("../../../../nats/buckets/KV_active-response.json"),
    include_str!("../../../../nats/buckets/KV_sca.json"),
    include_str!("../../../../nats/buckets/KV_reported.json"),
    include_str!("../../../../nats/buckets/KV_findings.json"),
    include_str!("../../../../nats/buckets/KV_tasks.json"),
    include_str!("../../../../nats/buckets/KV_sets.json"),
];

/// A stream and a durable consumer of it, in the form that `nats consumer add <stream> --config` takes.
pub(super) const CONSUMERS: &[(&str, &str)] = &[
    ("TASKS", include_str!("../../../../nats/consumers/TASKS/task-manager.json")),
    ("TASKS", include_str!("../../../../nats/consumers/TASKS/group-assignment.json")),
    ("TASKS", include_str!("../../../../nats/consumers/TASKS/group-configuration.json")),
    ("TASKS", include_str!("../../../../nats/consumers/TASKS/agent-name.json")),
    ("TASKS", include_str!("../../../../nats/consumers/TASKS/agent-deletion.json")),
    ("TASKS", include_str!("../../../../nats/consumers/TASKS/agent-package.json")),
    ("TASKS", include_str!("../../../../nats/consumers/TASKS/agent-upgrade.json")),
    ("TASKS", include_str!("../../../../nats/consumers/TASKS/server-configuration.json")),
    ("TASKS", include_str!("../../../../nats/consumers/TASKS/rbac-change.json")),
    ("TASKS", include_str!("../../../../nats/consumers/TASKS/ruleset-update.json")),
    ("TASKS", include_str!("../../../../nats/consumers/TASKS/cve-content.json")),
    ("TASKS", include_str!("../../../../nats/consumers/TASKS/vulnerability-rescan.json")),
    ("TASKS", include_str!("../../../../nats/consumers/TASKS/active-response-configuration.json")),
    ("TASKS", include_str!("../../../../nats/consumers/TASKS/active-response-execution.json")),
    ("TASKS", include_str!("../../../../nats/consumers/TASKS/sca-content.json")),
    ("TASKS", include_str!("../../../../nats/consumers/TASKS/sca-policy.json")),
    ("COMMANDS", include_str!("../../../../nats/consumers/COMMANDS/comms-api.json")),
    ("RUNS", include_str!("../../../../nats/consumers/RUNS/comms-api.json")),
    ("RESULTS", include_str!("../../../../nats/consumers/RESULTS/result-collector.json")),
    ("SCHEDULE", include_str!("../../../../nats/consumers/SCHEDULE/task-manager.json")),
];

/// The consumer of a server node's commands in the stream COMMANDS; `{node}` stands for its id.
pub(super) const NODE: &str = include_str!("../../../../nats/consumers/COMMANDS/server.template");
