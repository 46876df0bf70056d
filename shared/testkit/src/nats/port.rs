//! A port for a server that will be killed and must come back at the same address.

use std::{
    hash::{BuildHasher, RandomState},
    net::{Ipv4Addr, TcpListener},
    ops::Range,
};

use anyhow::{Result, bail};

/// Below the range that systems give to outgoing connections. In that range a client that
/// reconnects while the server is down could be given the server's port, and even be
/// connected to itself.
const RANGE: Range<u16> = 15_000..30_000;

/// A port of loopback that nobody listens on. Chosen at random, so that test processes
/// that look at the same time do not meet.
pub(super) fn free() -> Result<u16> {
    for attempt in 0..100 {
        let random = RandomState::new().hash_one(attempt) % RANGE.len() as u64;
        let port = RANGE.start + u16::try_from(random)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port from {RANGE:?} is free")
}
