#![allow(clippy::unwrap_used)]
//! From the lane's body to the staged program, and from there to what the ledger learns.

use std::fs;
use std::io::Cursor;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use minisign::KeyPair;
use muster_core::names::digest;
use muster_core::package::{Chunk, MAX_CHUNK, Package, Upgrade};
use muster_core::problem::Problem;
use tempfile::TempDir;
use tokio::time::timeout;

use super::switch::tests::{single, switch};
use super::*;
use crate::link::Unanswered;
use crate::rules::outcome::INVALID;

/// A server of packages that says what it was asked.
#[derive(Clone, Default)]
struct Server {
    bytes: Bytes,
    asked: Arc<Mutex<Vec<u64>>>,
    /// What comes instead of bytes, the last one first.
    faults: Arc<Mutex<Vec<Fault>>>,
}

#[derive(Clone, Copy)]
enum Fault {
    Silence,
    Refused,
    Empty,
    TooMuch,
    Short,
    Stuck,
}

#[async_trait]
impl Source for Server {
    async fn part(&self, chunk: &Chunk) -> Result<Bytes, Unanswered> {
        self.asked.lock().unwrap().push(chunk.offset);
        let part = |length: u64| {
            let from = usize::try_from(chunk.offset).unwrap();
            let to = (from + usize::try_from(length).unwrap()).min(self.bytes.len());
            self.bytes.slice(from..to)
        };
        let fault = self.faults.lock().unwrap().pop();
        match fault {
            None => Ok(part(chunk.length)),
            Some(Fault::Silence) => Err(Unanswered::Silence("nobody".into())),
            Some(Fault::Refused) => Err(Unanswered::Refused(vec![Problem::new("slow-down", "", "wait")])),
            Some(Fault::Empty) => Ok(Bytes::new()),
            Some(Fault::TooMuch) => Ok(Bytes::from(vec![0; usize::try_from(chunk.length).unwrap() + 1])),
            Some(Fault::Short) => Ok(part(7)),
            Some(Fault::Stuck) => std::future::pending().await,
        }
    }
}

/// An agent with version 1.0.0, and one who signs packages that it trusts.
struct World {
    home: TempDir,
    signer: KeyPair,
    server: Server,
}

impl World {
    fn new() -> Self {
        let (home, signer) = (tempfile::tempdir().unwrap(), KeyPair::generate_unencrypted_keypair().unwrap());
        fs::write(home.path().join("package.pub"), signer.pk.to_box().unwrap().to_string()).unwrap();
        let bytes = (0..MAX_CHUNK * 5 / 2).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
        Self { home, signer, server: Server { bytes, ..Server::default() } }
    }

    fn upgrades(&self) -> Upgrades {
        Upgrades::open(self.home.path(), "1.0.0").unwrap()
    }

    fn places(&self) -> Places {
        Places::open(self.home.path()).unwrap()
    }

    fn package(&self, version: &str) -> Package {
        let bytes = &self.server.bytes;
        let signature = minisign::sign(None, &self.signer.sk, Cursor::new(bytes), None, None).unwrap().to_string();
        Package {
            name: format!("muster-agent-{version}"),
            version: version.into(),
            os: std::env::consts::OS.into(),
            arch: std::env::consts::ARCH.into(),
            size: bytes.len() as u64,
            sha256: digest(bytes),
            signature,
        }
    }

    /// Puts the third version of the lane in force: none when a new program is staged.
    async fn put(&self, package: Package, force: bool) -> Option<Result<Value, Outcome>> {
        let body = serde_json::to_string(&Upgrade { package, force }).unwrap();
        let upgrades = self.upgrades();
        let staged = upgrades.staged().clone();
        let putting = upgrades.put(single(3), body, self.server.clone());
        tokio::select! { done = putting => Some(done), () = staged.cancelled() => None }
    }

    async fn refused(&self, package: Package) -> String {
        let why = self.put(package, false).await.unwrap().unwrap_err();
        assert_eq!(why.code, NOT_APPLIED);
        assert_eq!(self.places().switch().unwrap(), None, "nothing was staged");
        why.message
    }

    fn asked(&self) -> Vec<u64> {
        std::mem::take(&mut self.server.asked.lock().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn a_package_is_fetched_in_parts_whatever_the_server_says_between_them() {
    let world = World::new();
    *world.server.faults.lock().unwrap() =
        vec![Fault::Silence, Fault::Empty, Fault::Short, Fault::TooMuch, Fault::Refused, Fault::Silence];
    assert_eq!(world.put(world.package("1.1.0"), false).await, None);
    // Each part is asked for until it came; a short one is taken as it is.
    assert_eq!(world.asked(), [0, 0, 0, 0, 7, 7, 7, 7 + MAX_CHUNK, 7 + 2 * MAX_CHUNK]);
    assert_eq!(fs::read(world.places().program("1.1.0")).unwrap(), world.server.bytes);
    let staged = world.places().switch().unwrap().unwrap();
    assert_eq!((staged.from.as_str(), staged.to.as_str(), &staged.phase), ("1.0.0", "1.1.0", &Phase::Staged));
    assert_eq!(world.places().in_force().unwrap(), None, "it is not in force before it was proven");
}

#[tokio::test(start_paused = true)]
async fn a_download_that_was_cut_off_goes_on_where_it_was() {
    let world = World::new();
    *world.server.faults.lock().unwrap() = vec![Fault::Stuck, Fault::Short];
    assert!(timeout(Duration::from_secs(1), world.put(world.package("1.1.0"), false)).await.is_err());
    assert_eq!(world.asked(), [0, 7]);
    assert_eq!(world.put(world.package("1.1.0"), false).await, None);
    assert_eq!(world.asked()[0], 7, "what had come is not fetched again");

    // All bytes are there, and the agent was killed before it said so: nothing is fetched.
    world.places().forget().unwrap();
    assert_eq!(world.put(world.package("1.1.0"), false).await, None);
    assert!(world.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_crash_left_damaged_is_fetched_anew() {
    let world = World::new();
    let package = world.package("1.1.0");
    for left in [vec![0; 1000], vec![0; world.server.bytes.len()], vec![0; world.server.bytes.len() + 1]] {
        let places = world.places();
        fs::write(places.part(&package.sha256), &left).unwrap();
        fs::write(places.part("another"), "x").unwrap();
        assert_eq!(world.put(package.clone(), false).await, None);
        assert_eq!(fs::read(places.program("1.1.0")).unwrap(), world.server.bytes);
        assert!(!places.part("another").exists() && !places.part(&package.sha256).exists());
        fs::write(places.program("1.1.0"), "damaged").unwrap();
        places.forget().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_what_it_says_is_refused_and_on_disk_no_longer() {
    let world = World::new();
    let good = world.package("1.1.0");
    let other = World::new();
    let cases = [
        (Package { sha256: digest(b"other"), ..good.clone() }, "SHA-256"),
        (Package { size: good.size - 1, ..good.clone() }, "SHA-256"),
        (Package { signature: other.package("1.1.0").signature, ..good.clone() }, "has signed it"),
        (Package { signature: "none".into(), ..good.clone() }, "signature is none"),
        (Package { arch: "m68k".into(), ..good.clone() }, "linux-m68k"),
    ];
    for (package, why) in cases {
        let part = world.places().part(&package.sha256);
        let said = world.refused(package).await;
        assert!(said.contains(why), "{said}");
        assert!(!part.exists() && !world.places().program("1.1.0").exists());
    }
    fs::remove_file(world.home.path().join("package.pub")).unwrap();
    assert!(world.refused(good).await.contains("no key is trusted"));
    let body = world.upgrades().put(single(3), "{}".into(), world.server.clone()).await;
    assert_eq!(body.unwrap_err().code, INVALID);
}

#[tokio::test(start_paused = true)]
async fn an_older_version_only_by_force_and_the_same_one_not_at_all() {
    let world = World::new();
    assert!(world.refused(world.package("1.0.0-rc.1")).await.contains("is older than 1.0.0"));
    assert_eq!(world.put(world.package("v1.0"), true).await, Some(Ok(json!({ "version": "1.0.0" }))));
    assert!(world.asked().is_empty());
    assert_eq!(world.put(world.package("0.9.10"), true).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_failed_is_not_tried_again_whatever_was_lost() {
    let world = World::new();
    world.places().remember(&switch(Phase::Failed("version 1.1.0: no good".into()))).unwrap();
    let why = world.put(world.package("1.1.0"), false).await.unwrap().unwrap_err();
    assert!(why.message.contains("no good"));
    // Its state in the lane is the third, and the fourth is another matter: a retry.
    let body = serde_json::to_string(&Upgrade { package: world.package("1.1.0"), force: false }).unwrap();
    let upgrades = world.upgrades();
    let staged = upgrades.staged().clone();
    tokio::select! { _ = upgrades.put(single(4), body, world.server.clone()) => panic!(), () = staged.cancelled() => {} }
}

#[test]
fn the_ledger_learns_how_it_ended_until_it_says_that_it_knows() {
    let world = World::new();
    let (places, upgrades) = (world.places(), world.upgrades());
    assert!(upgrades.settled().unwrap().is_none() && upgrades.greeted().unwrap().is_none());
    places.remember(&switch(Phase::Tried)).unwrap();
    // The package promised another version.
    assert!(Upgrades::open(world.home.path(), "1.0.9").unwrap_err().to_string().contains("promised version 1.1.0"));
    let new = Upgrades::open(world.home.path(), "1.1.0").unwrap();
    assert!(new.settled().unwrap().is_none(), "it is not proven yet");
    for old in ["0.9.0", "1.0.0", "1.1.0"] {
        fs::write(places.part("p"), "x").unwrap();
        places.place(&places.part("p"), old).unwrap();
    }
    let (of, done) = new.greeted().unwrap().unwrap();
    assert_eq!((of, done.clone().unwrap()["version"].as_str()), (single(3), Some("1.1.0")));
    assert_eq!(places.in_force().unwrap().as_deref(), Some("1.1.0"));
    // Killed before the ledger had it: the next start tells it again.
    let (_, again) = Upgrades::open(world.home.path(), "1.1.0").unwrap().settled().unwrap().unwrap();
    assert_eq!(again, done);
    new.told().unwrap();
    assert!(new.settled().unwrap().is_none() && places.switch().unwrap().is_none());
    assert!(places.program("1.1.0").exists() && !places.program("1.0.0").exists());

    places.remember(&switch(Phase::Failed("version 1.1.0: no good".into()))).unwrap();
    let (_, failed) = upgrades.settled().unwrap().unwrap();
    assert_eq!(failed.unwrap_err().message, "version 1.1.0: no good; version 1.0.0 runs again");
    upgrades.told().unwrap();
    assert!(places.switch().unwrap().is_some(), "a failure is remembered");
}
