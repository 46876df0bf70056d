//! `muster group`: list, show, make, delete and fill groups.

use clap::{Args, Subcommand};
use muster_core::task::TaskType;
use serde_json::{Value, json};

use super::task::{content, submit};
use crate::ask::{ask, control};
use crate::exit::Exit;
use crate::output::{Output, fields, print, print_json, say, short, table, text};
use crate::submission::{Options, Whom, task};
use crate::wait::{Limit, Wait, Waiting};

#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// List all groups
    List,
    /// Show a group and its configuration
    Show {
        /// The group's name
        name: String,
    },
    /// List a group's members
    Members {
        /// The group's name
        name: String,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Make a group, or change its configuration, and wait until its members have it; those that are offline take it
    /// later
    Create {
        /// The group's name
        name: String,
        /// The configuration, YAML; - for stdin. Without it the configuration is empty
        #[arg(long, short)]
        file: Option<String>,
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        limit: Limit,
    },
    /// Take the members out of a group, delete it, and wait until they have left; those that are offline do it later
    Delete {
        /// The group's name
        name: String,
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        limit: Limit,
    },
    /// Put agents into groups
    Assign(Membership),
    /// Take agents out of groups
    Unassign(Membership),
    /// Make these the agents' only groups; without a name they are left in none
    Replace {
        /// The groups' names, with commas between them
        #[arg(value_delimiter = ',')]
        groups: Vec<String>,
        #[command(flatten)]
        change: Change,
    },
}

/// Groups that agents join or leave.
#[derive(Debug, Args)]
pub(crate) struct Membership {
    /// The groups' names, with commas between them
    #[arg(required = true, value_delimiter = ',')]
    groups: Vec<String>,
    #[command(flatten)]
    change: Change,
}

/// Whose groups are changed.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct Change {
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    wait: Wait,
}

/// A task about groups: its type, the task, how long to wait for its end.
type Submission = (TaskType, Value, Waiting);

pub(crate) async fn group(output: Output, group: Group) -> anyhow::Result<Exit> {
    let (kind, task, waiting) = match group {
        Group::List => return list(output).await,
        Group::Show { name } => return show(output, &name).await,
        Group::Members { name, limit } => return members(output, &name, limit).await,
        change => submission(change)?,
    };
    submit(&control().await?, output, kind.name(), task.to_string().into(), waiting).await
}

/// The task that a change of groups is.
fn submission(change: Group) -> anyhow::Result<Submission> {
    let assignment = |operation, groups: Vec<String>, change: &Change| {
        let args = json!({ "operation": operation, "groups": groups });
        (TaskType::GroupAssignment, task(&change.whom, args, &change.options), change.wait.into())
    };
    Ok(match change {
        Group::Create { name, file, options, limit } => {
            let mut args = content(file.as_deref(), true)?;
            args.entry("content").or_insert_with(|| "".into());
            (TaskType::GroupConfiguration, task(&Whom::group(name), args.into(), &options), limit.into())
        }
        Group::Delete { name, options, limit } => {
            let args = json!({ "operation": "delete-group", "group": name });
            (TaskType::GroupAssignment, task(&Whom::default(), args, &options), limit.into())
        }
        Group::Assign(Membership { groups, change }) => assignment("assign", groups, &change),
        Group::Unassign(Membership { groups, change }) => assignment("unassign", groups, &change),
        Group::Replace { groups, change } => assignment("replace", groups, &change),
        Group::List | Group::Show { .. } | Group::Members { .. } => anyhow::bail!("this changes no group"),
    })
}

async fn list(output: Output) -> anyhow::Result<Exit> {
    let answer = ask(&control().await?, "group.list", &json!({})).await?;
    match output {
        Output::Json => print_json(&answer)?,
        Output::Table => {
            let row = |group: &Value| {
                let digest = short(group["digest"].as_str().unwrap_or_default());
                let [name, life, members, revision] =
                    ["name", "life", "members", "revision"].map(|field| text(&group[field]));
                [name, life, members, revision, digest]
            };
            let groups = answer["groups"].as_array().into_iter().flatten().map(row);
            print(&table(["name", "life", "members", "revision", "digest"], groups))?;
        }
    }
    Ok(Exit::Done)
}

async fn show(output: Output, name: &str) -> anyhow::Result<Exit> {
    let answer = ask(&control().await?, "group.get", &json!({ "group": name })).await?;
    if output == Output::Json {
        return print_json(&answer).map(|()| Exit::Done);
    }
    let shown = ["name", "life", "members"].map(|field| (field, text(&answer[field])));
    print(&fields(shown))?;
    let contents = answer["contents"].as_object().into_iter().flatten();
    let row = |(name, content): (&String, &Value)| {
        let [revision, task, digest, disabled] =
            ["revision", "task", "digest", "disabled"].map(|field| text(&content[field]));
        [name.clone(), revision, task, digest, disabled]
    };
    let contents: Vec<_> = contents.map(row).collect();
    if !contents.is_empty() {
        print(&format!("\n{}", table(["content", "revision", "task", "digest", "disabled"], contents)))?;
    }
    match answer["config"].as_str() {
        Some(config) if !config.is_empty() => print(&format!("\n{}", crate::output::document(config)))?,
        _ => {}
    }
    Ok(Exit::Done)
}

async fn members(output: Output, name: &str, limit: usize) -> anyhow::Result<Exit> {
    let answer = ask(&control().await?, "group.members", &json!({ "group": name, "limit": limit })).await?;
    if output == Output::Json {
        return print_json(&answer).map(|()| Exit::Done);
    }
    let members: Vec<String> = answer["members"].as_array().into_iter().flatten().map(text).collect();
    if !members.is_empty() {
        print(&members.join("\n"))?;
    }
    let total = answer["total"].as_u64().unwrap_or_default();
    if total > members.len() as u64 {
        say(&format!("{} of {total} members; --limit shows more", members.len()));
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    type Submitted = (&'static str, Value, Waiting);

    const MINUTE: Waiting = Waiting::AtMost(std::time::Duration::from_secs(60));

    fn submitted(line: &str) -> Submitted {
        let Command::Group(group) = Cli::try_parse_from(line.split_whitespace()).unwrap().command else { panic!() };
        let (kind, task, waiting) = submission(group).unwrap();
        let problems = muster_functions::ALL.iter().find(|f| f.kind == kind).unwrap();
        assert_eq!((problems.define)().unwrap().problems(&task), vec![], "{line}");
        (kind.name(), task, waiting)
    }

    #[test]
    fn changes_are_tasks_that_their_schemas_take() {
        let web = json!({"type": "group", "id": "web"});
        assert_eq!(
            submitted("muster group create web"),
            ("group-configuration", json!({"target": web, "args": {"content": "", "create": true}}), MINUTE)
        );
        assert_eq!(
            submitted("muster group delete web --user ada"),
            ("group-assignment", json!({"args": {"operation": "delete-group", "group": "web"}, "user": "ada"}), MINUTE)
        );
        assert_eq!(
            submitted("muster group assign web,db --all --id x"),
            (
                "group-assignment",
                json!({"target": {"type": "all"}, "args": {"operation": "assign", "groups": ["web", "db"]}, "id": "x"}),
                Waiting::Not
            )
        );
        assert_eq!(
            submitted("muster group replace --agent 001 --wait"),
            (
                "group-assignment",
                json!({"target": {"type": "agent", "id": "001"}, "args": {"operation": "replace", "groups": []}}),
                Waiting::Forever
            )
        );
        let (.., waiting) = submitted("muster group unassign web --group web --wait --wait-timeout 5m");
        assert_eq!(waiting, Waiting::AtMost(std::time::Duration::from_secs(300)));
    }
}
