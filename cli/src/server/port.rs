//! Whether a port is free, and who has it.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};

use anyhow::bail;

/// # Errors
/// When the address is taken; it says by whom, where that can be seen (Linux, processes of the same user).
pub(super) fn ensure_free(address: SocketAddr) -> anyhow::Result<()> {
    let Err(error) = TcpListener::bind(address) else { return Ok(()) };
    if error.kind() != std::io::ErrorKind::AddrInUse {
        bail!("nothing can listen on {address}: {error}");
    }
    let mut message = format!("port {} is taken", address.port());
    match holder(address.port()) {
        Some((pid, name)) => {
            let _ = write!(message, " by process {pid} ({name}). End it (kill {pid})");
        }
        None => message += ". End whoever has it",
    }
    bail!("{message}, take another port (muster up --port N), or use the server there: muster up --no-server")
}

/// The process that listens on a port, and its name.
fn holder(port: u16) -> Option<(u32, String)> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|file| std::fs::read_to_string(file).unwrap_or_default());
    let socket = tables.iter().flat_map(|table| table.lines()).find_map(|line| listening(line, port))?;
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|link| link.as_os_str() == socket.as_str())
    })?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some((pid, name.trim().to_owned()))
}

/// The socket of a line of proc(5)'s `net/tcp`, when it listens on the port.
fn listening(line: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, local) = fields.get(1)?.rsplit_once(':')?;
    let found = u16::from_str_radix(local, 16).ok()? == port && *fields.get(3)? == LISTEN;
    found.then(|| format!("socket:[{}]", fields.get(9).unwrap_or(&"")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_taken_port_names_its_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let error = ensure_free(address).unwrap_err().to_string();
        if cfg!(target_os = "linux") {
            assert!(error.contains(&format!("by process {} (", std::process::id())), "{error}");
        }
        drop(listener);
        ensure_free(address).unwrap();
    }
}
