//! The services and functions of a world: each copy is started, and started again when it ends.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use muster_comms_api::{CutOff, Gateway, Settings, Source, deliver};
use muster_core::task::TaskType;
use muster_runtime::steps::Context;
use muster_runtime::{Definition, work};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::link::{Agents, NoNodes};
use crate::net::Net;
use crate::process::{Process, ProcessClock};
use crate::sabotage::Sabotage;

/// Agents sync about so often.
const SYNC: Duration = Duration::from_secs(20);

/// What a process does.
#[derive(Debug, Clone, Copy)]
pub enum Role {
    /// Carries out tasks of a type.
    Function(TaskType),
    /// `muster-task-manager`.
    TaskManager,
    /// `muster-comms-api`.
    Gateway,
    /// `muster-result-collector`.
    Collector,
}

/// The types of the functions of a world.
pub const FUNCTIONS: [TaskType; 6] = [
    TaskType::GroupAssignment,
    TaskType::GroupConfiguration,
    TaskType::AgentName,
    TaskType::AgentDeletion,
    TaskType::ActiveResponseConfiguration,
    TaskType::ActiveResponseExecution,
];

/// The product's functions, each compiled once.
fn definition(kind: TaskType) -> Option<Arc<Definition>> {
    static ALL: OnceLock<Vec<Arc<Definition>>> = OnceLock::new();
    let wanted = |entry: &&muster_functions::Entry| FUNCTIONS.contains(&entry.kind);
    let define = |entry: &muster_functions::Entry| (entry.define)().ok().map(Arc::new);
    let all = ALL.get_or_init(|| muster_functions::ALL.iter().filter(wanted).filter_map(define).collect());
    all.iter().find(|definition| definition.kind == kind).cloned()
}

/// The living processes of a world.
#[derive(Clone, Default)]
pub struct Processes(Arc<Mutex<Vec<Arc<Process>>>>);

impl Processes {
    /// Those that live now.
    pub fn living(&self) -> Vec<Arc<Process>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|p| !p.is_dead()).cloned().collect()
    }

    /// Starts a copy of a service or function, and starts it again whenever it ends.
    pub fn keep(&self, net: &Arc<Net>, role: Role, copy: u64) {
        let name = match role {
            Role::Function(kind) => format!("function {kind}/{copy}"),
            Role::TaskManager => format!("task-manager/{copy}"),
            Role::Gateway => format!("gateway/{copy}"),
            Role::Collector => format!("collector/{copy}"),
        };
        let (net, all) = (net.clone(), self.0.clone());
        tokio::spawn(async move {
            for life in 0.. {
                let process = Process::start(&net, &name, life);
                {
                    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                    all.retain(|process| !process.is_dead());
                    all.push(process.clone());
                }
                let main = tokio::spawn(serve(process.clone(), role));
                let abort = main.abort_handle();
                tokio::select! {
                    biased;
                    () = process.died() => abort.abort(),
                    ended = main => net.note(&name, || match ended {
                        Ok(Ok(())) => "ends".into(),
                        Ok(Err(error)) => format!("ends: {error}"),
                        Err(error) => format!("ends: {error}"),
                    }),
                }
                if !process.is_dead() {
                    process.kill();
                }
                sleep(process.chance.span(200, 10_000)).await;
            }
        });
    }
}

/// One life of a service or function.
async fn serve(process: Arc<Process>, role: Role) -> anyhow::Result<()> {
    let context = Context { bus: Arc::new(Bus(process.clone())), clock: Arc::new(ProcessClock(process.clone())) };
    let shutdown = CancellationToken::new();
    let epoch = process.net.epoch();
    match role {
        Role::Function(kind) => {
            let definition = definition(kind).ok_or_else(|| anyhow::anyhow!("there is no function {kind}"))?;
            let at_once = match kind {
                TaskType::ActiveResponseExecution => 16,
                _ => process.net.sabotage.map_or(1, Sabotage::at_once),
            };
            work(definition, context, epoch, at_once, shutdown, |_| ()).await
        }
        Role::TaskManager => muster_task_manager::tend(&context, epoch, &shutdown).await,
        Role::Collector => muster_result_collector::collect(context, shutdown, || ()).await,
        Role::Gateway => {
            let settings = Settings { sync_interval: SYNC, epoch };
            let link = Arc::new(Agents(process.clone()));
            let gateway = Arc::new(Gateway::start(&context, link, Arc::new(NoNodes), settings));
            let connections = Arc::new(Agents(process.clone()));
            gateway.cuts_off(CutOff::start(connections, context.clock.clone(), shutdown.clone()));
            process.net.opens(&process, gateway.clone());
            let commands = deliver(gateway.clone(), Source::Commands, shutdown.clone(), || ());
            let runs = deliver(gateway, Source::Runs, shutdown, || ());
            tokio::join!(commands, runs);
            Ok(())
        }
    }
}
