//! The agent: a program with a root directory of its own.

mod enrol;
mod session;
mod timer;
mod token;
mod worker;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use muster_core::findings::Finding;
use muster_core::names::agent_name_fault;
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

pub use self::token::TokenSource;

use self::session::Session;
use self::worker::{ABILITIES, Worker};
use crate::configurator::Configurator;
use crate::disk::{DiskLedger, Enrolment, Identity, Local, Root};
use crate::jobs::Jobs;
use crate::link::{Access, Secret};
use crate::modules::active_response::ActiveResponses;
use crate::modules::sca::{Sca, Surroundings, Wanted};
use crate::modules::vulnerabilities::Vulnerabilities;
use crate::rules::{About, Core};
use crate::upgrade::Upgrades;

/// What an agent is told when it is started.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its directory.
    pub root: PathBuf,
    /// The server: one or more addresses, separated by commas.
    pub url: String,
    /// The token with which it enrols.
    pub token: TokenSource,
    /// The name that it would like to have when it enrols; the machine's when there is none.
    pub name: Option<String>,
    /// Labels of its own.
    pub labels: BTreeMap<String, String>,
    /// The version that it says it has.
    pub version: String,
    /// Whether a supervisor started it, which can start another version: without one it refuses upgrades.
    pub supervised: bool,
    /// The root of the system whose packages it lists: `/`, or where a container has its host's.
    pub inventory: PathBuf,
}

/// Why an agent has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was told to, or was deleted.
    Stopped,
    /// Another version is to be started in its place.
    Switch,
}

/// Runs an agent until `stop` is cancelled: enrols it if it has no id, puts what it knows in force, and then does what
/// the gateway says.
///
/// # Errors
/// When another agent runs in this directory, its files cannot be read or written, it has neither an id nor a token, or its
/// enrolment is refused.
pub async fn run(settings: Settings, stop: CancellationToken) -> anyhow::Result<End> {
    let root = Root::open(&settings.root);
    let root = root.with_context(|| format!("the directory {} cannot be used", settings.root.display()))?;
    // The ledger is the lock of the directory: it comes before everything else.
    let (ledger, state) = DiskLedger::open(&root.ledger())?;
    let mut core = Core::start(state, ledger, ABILITIES)?;
    let upgrades = settings.supervised.then(|| Upgrades::open(root.path(), &settings.version)).transpose()?;
    if let Some(upgrades) = &upgrades
        && let Some((single, done)) = upgrades.settled()?
    {
        core.done(single, done)?;
        upgrades.told()?;
    }
    let mut identity = Identity::open(&root)?;
    let about = About {
        version: settings.version.clone(),
        os: std::env::consts::OS.into(),
        arch: std::env::consts::ARCH.into(),
        labels: settings.labels.clone(),
    };
    let mut configurator = Configurator::start(root.clone()).map_err(|why| anyhow!(why))?;
    if let Err(why) = configurator.restore(&core.state().in_force).await {
        tracing::error!(%why, "what was in force cannot be put in force again; the gateway is asked for all of it");
        core.forget()?;
    }
    let local = Local::read(&root)?;
    let seed = Secret(identity.key.seed()?);
    let access = |token| Access { url: settings.url.clone(), seed: seed.clone(), token };
    let enrolment = match identity.enrolment.clone() {
        Some(Enrolment { id, deleted: true, .. }) => bail!(
            "agent {id} was deleted; to enrol a new one, give it a directory of its own (or empty {})",
            settings.root.display()
        ),
        Some(enrolment) => enrolment,
        None => {
            let name = settings.name.clone().unwrap_or_else(machine_name);
            let access = access(Some(settings.token.read()?));
            let enrolling = enrol::enrol(&access, &identity.key, name, &about);
            let Some(enrolled) = stop.run_until_cancelled(enrolling).await else {
                configurator.stop().await;
                return Ok(End::Stopped);
            };
            let enrolled = enrolled?;
            identity.keep(&root, enrolled.clone())?;
            enrolled
        }
    };
    tracing::info!(agent = %enrolment.id, name = %enrolment.name, root = %settings.root.display(), "the agent starts");
    let (told, connected) = unbounded_channel();
    let client = access(None).connect(&enrolment.id, Some(told)).await?;
    let (responses, jobs) = (ActiveResponses::open(root.path(), &enrolment.name).await?, Jobs::new());
    // What is missing is asked for once the gateway has answered.
    let short = !configurator.follow(core.state()).is_empty();
    let subject = format!("agent.{}.findings.{}", enrolment.id, Finding::Sca.name());
    let surroundings = Surroundings { commands: local.sca.remote_commands, client: client.clone(), subject };
    let sca = Sca::start(root.path(), surroundings, Wanted::of(configurator.modules()));
    let subject = format!("agent.{}.packages", enrolment.id);
    let vulnerabilities = Vulnerabilities::of(&settings.inventory, client.clone(), subject);
    let worker = Worker {
        core,
        configurator,
        responses,
        sca,
        vulnerabilities,
        upgrades,
        jobs,
        client,
        root,
        identity,
        enrolment,
        short,
    };
    Session::new(worker, about, connected).run(stop).await
}

/// The machine's name in the form of an agent's name.
fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.' { c } else { '-' };
    let name: String = name.unwrap_or_default().trim().trim_start_matches('.').chars().map(plain).take(128).collect();
    if agent_name_fault(&name).is_none() { name } else { format!("agent-{}", nuid::next()) }
}
