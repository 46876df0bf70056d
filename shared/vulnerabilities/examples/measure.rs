//! What a snapshot and a scan cost: `measure <snapshot.ndjson> [copies]`. Each CVE is loaded as often as `copies` says, under other
//! names. The scan is of the system that this runs on.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::time::Instant;

use muster_vulnerabilities::inventory::Place;
use muster_vulnerabilities::{CveId, Database};
use serde_json::Value;

/// The records again and again.
struct Copies {
    records: Vec<Value>,
    left: u64,
    next: usize,
    line: Vec<u8>,
    bytes: u64,
}

impl Read for Copies {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.line.is_empty() && self.left > 0 {
            let record = &mut self.records[self.next];
            if record["name"].as_str().is_some_and(|name| name.parse::<CveId>().is_ok()) {
                record["name"] = format!("CVE-{}-{}", 2000 + self.next, 10_000 + self.left).into();
            }
            self.line = serde_json::to_vec(record)?;
            self.line.push(b'\n');
            self.bytes += self.line.len() as u64;
            self.next = (self.next + 1) % self.records.len();
            self.left -= u64::from(self.next == 0);
        }
        let length = buffer.len().min(self.line.len());
        buffer[..length].copy_from_slice(&self.line[..length]);
        self.line.drain(..length);
        Ok(length)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("measure <snapshot.ndjson> [copies]")?;
    let copies = arguments.next().map_or(Ok(1), |copies| copies.parse())?;
    let records = BufReader::new(File::open(path)?).lines().map(|line| Ok(serde_json::from_str(&line?)?));
    let records = records.collect::<Result<Vec<Value>, Box<dyn Error>>>()?;
    let directory = tempfile::tempdir_in(".")?;
    let database = Database::open(directory.path())?;

    let mut feed =
        BufReader::with_capacity(1 << 20, Copies { records, left: copies, next: 0, line: Vec::new(), bytes: 0 });
    let start = Instant::now();
    let contents = database.load_snapshot(&mut feed, 10_000_000)?;
    let bytes = std::fs::metadata(directory.path().join("vulnerabilities.redb"))?.len();
    println!(
        "{contents:?}: {} MB in {:?}, {} MB on the disk",
        feed.get_ref().bytes / 1_000_000,
        start.elapsed(),
        bytes / 1_000_000
    );

    let inventory = Place::default().inventory().map_err(|problem| problem.to_string())?;
    let start = Instant::now();
    let found = database.match_packages(&inventory.os, &inventory.packages)?;
    println!("{} packages of {}: {:?}", found.scanned, inventory.os.distribution, start.elapsed());
    println!("{:?}, {} undetermined, {} unlisted", found.counts, found.undetermined.len(), found.unlisted);
    // The file as a kill would leave it.
    let left = tempfile::tempdir_in(".")?;
    std::fs::copy(directory.path().join("vulnerabilities.redb"), left.path().join("vulnerabilities.redb"))?;
    let start = Instant::now();
    let contents = Database::open(left.path())?.contents()?;
    println!("opened as after a kill in {:?}, at {}", start.elapsed(), contents.offset);
    Ok(())
}
