//! What tests need to run the real parts: a NATS server that can be killed and comes
//! back with its data ([`NatsServer`]), the workspace's programs as processes
//! ([`Process`]), and waiting for what must become true ([`eventually`]).

mod eventually;
mod nats;
mod process;

pub use eventually::{Attempt, PATIENCE, eventually};
pub use nats::{NatsServer, ask_as};
pub use process::{Process, Signal, binary};
