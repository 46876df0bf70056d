//! The system of a run: its processes, and how they are hit and started again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use muster_checker::Reader;
use muster_testkit::{NatsServer, Process, Signal};
use muster_tests::System;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::names::{AGENTS, FUNCTIONS, GROUPS, NODES, PROGRAM, RAN, REAL, RESPONSE, SERVICES, response};
use crate::{Options, load};

/// How long the start of something may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// A process that is started again when it was killed.
pub(crate) struct Part {
    /// What runs: a function, a service, `server`, or `agent`.
    pub kind: String,
    /// Which of them.
    pub name: String,
    pub process: Process,
    /// Whether it is stopped (SIGSTOP).
    pub stopped: bool,
}

/// The system.
pub(crate) struct Site {
    pub system: System,
    pub parts: Vec<Part>,
    pub fleet: Process,
    pub reader: Reader,
    /// The numbers of the real agents.
    pub real: Vec<u32>,
    /// The numbers of the virtual ones.
    pub numbers: Vec<u32>,
    /// How often agents sync.
    pub sync: Duration,
    home: TempDir,
}

impl Site {
    /// Starts everything, enrols all agents, and makes the groups.
    pub async fn start(options: &Options) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let mut system = System::on(NatsServer::as_process().await?).await?;
        // All agents together ask no more than some hundred times a second.
        let sync = Duration::from_secs(u64::from(options.agents / 400).max(4));
        system.env.push(("MUSTER_SYNC_INTERVAL".into(), sync.as_secs().to_string()));
        system.env.push(("RUST_LOG".into(), "info,async_nats=warn".into()));
        let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
        let reader = Reader::new(system.server.control().await?, &schemas)?;
        let report = home.path().join("fleet.jsonl");
        let mut fleet = system.muster()?;
        fleet.args(["fleet", "--prefix", "v", "--fail", "1%", "--latency", "2ms", "--jitter", "20ms"]);
        fleet.args(["--duplicates", "2%", "--count", &options.agents.to_string(), "--seed", &options.seed.to_string()]);
        fleet.arg("--report").arg(&report);
        let mut parts = Vec::new();
        for (kind, copies) in FUNCTIONS.into_iter().chain(SERVICES) {
            for n in 1..=copies {
                parts.push((kind, format!("{kind}/{n}")));
            }
        }
        parts.extend(NODES.map(|name| ("server", name.to_owned())));
        let mut site = Self {
            fleet: Process::start(fleet)?,
            reader,
            parts: Vec::new(),
            real: Vec::new(),
            numbers: Vec::new(),
            sync,
            home,
            system,
        };
        for (kind, name) in parts {
            let process = site.launch(kind, &name)?;
            site.parts.push(Part { kind: kind.to_owned(), name, process, stopped: false });
        }
        site.enrol(options.agents).await?;
        site.prepare().await?;
        Ok(site)
    }

    /// Starts the process of a part.
    pub fn launch(&self, kind: &str, name: &str) -> Result<Process> {
        if kind == "agent" {
            return self.system.agent(&self.root(name), name);
        }
        let mut command = self.system.muster()?;
        command.args(["run", kind]);
        if kind == "server" {
            command.env("MUSTER_NODE_NAME", name).env("MUSTER_NODE_DIR", self.root(name));
        }
        Process::start(command)
    }

    /// The directory of a real agent or a node.
    pub fn root(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Where the fleet writes what its agents hold and did.
    pub fn fleet_report(&self) -> PathBuf {
        self.home.path().join("fleet.jsonl")
    }

    async fn enrol(&mut self, agents: u32) -> Result<()> {
        for name in AGENTS {
            let bin = self.root(name).join("active-response/bin");
            fs::create_dir_all(&bin)?;
            fs::write(bin.join(RESPONSE), PROGRAM)?;
            fs::set_permissions(bin.join(RESPONSE), fs::Permissions::from_mode(0o750))?;
            let process = self.launch("agent", name)?;
            self.parts.push(Part { kind: "agent".into(), name: name.into(), process, stopped: false });
        }
        let deadline = Instant::now() + PATIENCE;
        for (prefix, count) in [("v-", agents as usize), ("real-", AGENTS.len())] {
            let mut found: Vec<u32> = Vec::new();
            while found.len() < count {
                ensure!(Instant::now() < deadline, "{} of {count} agents {prefix}* enrolled", found.len());
                ensure!(self.fleet.is_running()?, "the fleet has ended:\n{}", self.fleet.log());
                sleep(Duration::from_millis(500)).await;
                let records = self.system.records().await?;
                found = records.iter().filter(|r| r.name.starts_with(prefix)).map(|r| r.number).collect();
            }
            *(if prefix == "v-" { &mut self.numbers } else { &mut self.real }) = found;
        }
        Ok(())
    }

    /// Makes the groups, puts the real agents into theirs, and gives them the active response.
    async fn prepare(&mut self) -> Result<()> {
        let ids: Vec<String> = self.real.iter().map(|n| format!("{n:03}")).collect();
        let mut tasks = Vec::new();
        for group in GROUPS.into_iter().chain([REAL]) {
            let args = json!({ "content": "agent:\n  queue_size: 1000\n", "create": true });
            tasks.push(("group-configuration", json!({ "target": { "type": "group", "id": group }, "args": args })));
        }
        let put = json!({ "operation": "put", "name": RESPONSE, "content": response(0) });
        tasks
            .push(("active-response-configuration", json!({ "target": { "type": "group", "id": REAL }, "args": put })));
        let join = json!({ "operation": "assign", "groups": [REAL] });
        tasks.push(("group-assignment", json!({ "target": { "type": "agent", "id": ids }, "args": join })));
        for (n, (kind, mut task)) in tasks.into_iter().enumerate() {
            let id = format!("setup-{n}");
            task["id"] = json!(id);
            load::publish(&self.system.client, kind, &task).await?;
            self.ended(&[id], PATIENCE).await?;
        }
        Ok(())
    }

    /// Waits until these tasks, and all others that are there, have ended; true when they have.
    pub async fn ended(&self, tasks: &[String], limit: Duration) -> Result<bool> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if self.open(tasks).await.is_ok_and(|open| open == 0) {
                return Ok(true);
            }
            sleep(Duration::from_millis(300)).await;
        }
        Ok(false)
    }

    async fn open(&self, tasks: &[String]) -> Result<usize> {
        use muster_broker::{Broker as _, kv};
        let subjects = self.system.bus.list("KV_tasks", &kv::subject("tasks", "*")).await?;
        let entries = self.system.bus.get_many("KV_tasks", &subjects).await?;
        let mut ended = std::collections::HashSet::new();
        let mut open = 0;
        for entry in entries {
            let summary: serde_json::Value = serde_json::from_slice(&entry.body.unwrap_or_default())?;
            match summary["ended"].is_null() {
                true => open += 1,
                false => drop(ended.insert(summary["id"].as_str().unwrap_or_default().to_owned())),
            }
        }
        Ok(open + tasks.iter().filter(|id| !ended.contains(*id)).count())
    }

    /// Waits until no edge command waits for an agent, however long the ended ones take to be purged; true when so.
    pub async fn mailboxes_empty(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            let info = self.system.client.request("$JS.API.STREAM.INFO.RUNS", "".into()).await;
            let info = info.ok().and_then(|info| serde_json::from_slice::<serde_json::Value>(&info.payload).ok());
            if info.is_some_and(|info| info["state"]["messages"] == 0) {
                return true;
            }
            sleep(Duration::from_millis(300)).await;
        }
        false
    }

    /// The places in `parts` of those of a kind.
    pub fn of(&self, kind: &str) -> Vec<usize> {
        self.parts.iter().enumerate().filter(|(_, part)| part.kind == kind).map(|(at, _)| at).collect()
    }

    /// How many lines the program of a real agent has written.
    pub fn lines(&self, name: &str) -> usize {
        fs::read_to_string(self.root(name).join(RAN)).map_or(0, |text| text.lines().count())
    }

    /// Has the fleet write what its agents hold and did.
    pub async fn fleet_accounts(&mut self) -> Result<PathBuf> {
        let path = self.fleet_report();
        let _ = fs::remove_file(&path);
        self.fleet.signal(Signal::USR1)?;
        let deadline = Instant::now() + PATIENCE;
        while !path.is_file() {
            ensure!(Instant::now() < deadline, "the fleet writes no report");
            sleep(Duration::from_millis(50)).await;
        }
        Ok(path)
    }

    /// Ends the real agents and the nodes as an operator would, so that their ledgers can be read.
    pub async fn pause_recipients(&mut self) -> Result<()> {
        for part in self.parts.iter_mut().filter(|part| ["agent", "server"].contains(&part.kind.as_str())) {
            part.process.signal(Signal::TERM)?;
            let ended = part.process.wait_exit(Duration::from_secs(60)).await;
            ended.with_context(|| format!("{}:\n{}", part.name, part.process.log()))?;
        }
        Ok(())
    }

    /// Starts again what has ended.
    pub fn revive(&mut self) -> Result<usize> {
        let mut revived = 0;
        for at in 0..self.parts.len() {
            if !self.parts[at].process.is_running()? {
                let (kind, name) = (self.parts[at].kind.clone(), self.parts[at].name.clone());
                self.parts[at].process = self.launch(&kind, &name)?;
                revived += 1;
            }
        }
        Ok(revived)
    }

    /// Keeps the logs of all processes beside the report.
    pub fn keep_logs(&self, out: &Path) -> Result<()> {
        let folder = out.join("logs");
        fs::create_dir_all(&folder)?;
        for part in &self.parts {
            part.process.keep_log(&folder.join(format!("{}.log", part.name.replace('/', "-"))))?;
        }
        self.fleet.keep_log(&folder.join("fleet.log"))
    }
}
