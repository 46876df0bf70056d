//! Real policies, on a system that is made up and on this one. They lie beside the project and are left out when they are
//! not there.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use muster_sca::{Memory, Options, Outcome, Policy, Report, scan};
use serde_json::json;

const COMMANDS: Options = Options { commands: true, time: Duration::from_secs(3600) };

fn text(name: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/sca").join(name);
    let text = fs::read_to_string(&path).ok();
    if text.is_none() {
        eprintln!("left out: {} is not there", path.display());
    }
    text
}

fn results(report: &Report) -> BTreeMap<u32, Outcome> {
    report.checks.iter().map(|check| (check.id, check.result)).collect()
}

fn adds_up(report: &Report) {
    let totals = report.totals;
    assert_eq!(totals.passed + totals.failed + totals.not_applicable, report.checks.len());
    for check in &report.checks {
        assert_eq!(check.reason.is_some(), check.result == Outcome::NotApplicable, "{check:?}");
    }
    assert!(serde_json::to_string(&report.summary()).unwrap().len() < 4096);
}

fn system(value: serde_json::Value) -> Memory {
    serde_json::from_value(value).unwrap()
}

#[test]
fn unix_audit() {
    let Some(text) = text("sca_unix_audit.yml") else { return };
    let policy = Policy::parse(&text).unwrap();
    assert_eq!((policy.id.as_str(), policy.checks.len()), ("unix_audit", 23));
    assert!(policy.checks.iter().all(|check| check.uncompilable().is_none()));
    let sshd = "# Port 22\nPort 2200\n\tProtocol 2\nPermitRootLogin yes\nPubkeyAuthentication yes\nMaxAuthTries 6\n\
                PermitEmptyPasswords no\nIgnoreRhosts yes\nLoginGraceTime 60s\n";
    let pam = "# here\npassword requisite pam_pwquality.so retry=3\npassword required pam_cracklib.so minlen=14 dcredit = -1\n";
    let report = scan(
        &policy,
        &system(json!({
            "files": { "/etc/ssh/sshd_config": sshd, "/etc/pam.d/system-auth": pam, "/etc/login.defs": "PASS_MAX_DAYS \t 99999\n" },
            "commands": {
                "dpkg -s apparmor": "Status: install ok installed\n",
                "systemctl is-enabled cups": "Failed to get unit file state for cups.service\n",
            },
        })),
        COMMANDS,
    );
    adds_up(&report);
    let results = results(&report);
    for (id, expected) in [
        (3000, Outcome::Passed),        // a port other than 22; the comment is not taken for one
        (3001, Outcome::Passed),        // \t* after \s*
        (3002, Outcome::Failed),        // root may log in
        (3003, Outcome::Passed),        // in any case
        (3004, Outcome::Failed),        // nothing is said of passwords
        (3007, Outcome::Passed),        // 60 <= 60
        (3008, Outcome::Failed),        // 6 <= 4
        (3010, Outcome::Passed),        // in the third file of the list
        (3011, Outcome::Passed),        // 14 >= 14
        (3012, Outcome::Passed),        // dcredit
        (3013, Outcome::NotApplicable), // no lcredit in the file that is there; the others are not
        (3016, Outcome::NotApplicable), // the file is missing
        (3019, Outcome::Failed),        // spaces, then tabs, then spaces again: the expression does not say so
        (3020, Outcome::Passed),        // one of both is installed, though the other cannot be asked
        (3021, Outcome::Passed),        // not enabled
        (3022, Outcome::NotApplicable), // systemctl does not answer
    ] {
        assert_eq!(results[&id], expected, "{id}");
    }
    let summary = report.summary();
    assert_eq!(summary.failed_checks.first(), Some(&3002));
    assert_eq!(summary.score, Some(summary.totals.passed * 100 / (summary.totals.passed + summary.totals.failed)));
}

#[test]
fn without_its_files_a_policy_is_not_applicable_as_a_whole() {
    for name in ["sca_unix_audit.yml", "cis_debian12.yml"] {
        let Some(text) = text(name) else { return };
        let policy = Policy::parse(&text).unwrap();
        let report = scan(&policy, &Memory::default(), COMMANDS);
        adds_up(&report);
        assert!(report.reason.is_some());
        assert_eq!(report.totals.not_applicable, policy.checks.len());
        assert_eq!(report.summary().score, None);
    }
}

#[test]
fn cis_debian() {
    let Some(text) = text("cis_debian12.yml") else { return };
    let policy = Policy::parse(&text).unwrap();
    assert_eq!((policy.id.as_str(), policy.checks.len()), ("cis_debian12", 181));
    let uncompilable: Vec<_> = policy.checks.iter().filter(|check| check.uncompilable().is_some()).collect();
    assert!(uncompilable.is_empty(), "{uncompilable:#?}");
    let audit = "-a always,exit -F arch=b64 -S adjtimex -S settimeofday -k time-change\n";
    let mut files = json!({
        "/etc/debian_version": "12.5\n",
        "/proc/sys/kernel/ostype": "Linux\n",
        "/etc/os-release": "NAME=\"Debian GNU/Linux\"\nVERSION=\"12 (bookworm)\"\n",
        "/etc/fstab": "#tmpfs /tmp tmpfs\n",
        "/etc/motd": "Welcome\n",
        "/etc/passwd": "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/bin/sh\n",
        "/etc/shadow": { "error": "Permission denied" },
        "/etc/audit/rules.d/audit.rules": audit,
    });
    let commands = json!({
        "modprobe -n -v cramfs": "install /bin/true\n",
        "modprobe -n -v freevxfs": "insmod /lib/modules/freevxfs.ko\n",
        "lsmod": "Module Size Used by\next4 1 1\n",
        "mount": "tmpfs on /tmp type tmpfs (rw,nosuid)\n",
        "iptables -L INPUT -v -n": "0 0 ACCEPT all -- lo * 0.0.0.0/0 0.0.0.0/0\n0 0 DROP all -- * * 127.0.0.0/8 0.0.0.0/0\n",
        "stat /etc/crontab": "Access: (0600/-rw-------)  Uid: (    0/    root)   Gid: (    0/    root)\n",
    });
    let scan_of =
        |files: &serde_json::Value| scan(&policy, &system(json!({ "files": files, "commands": commands })), COMMANDS);
    let report = scan_of(&files);
    adds_up(&report);
    assert_eq!(report.reason, None);
    let by_title = |part: &str| report.checks.iter().find(|check| check.title.contains(part)).unwrap();
    for (part, expected) in [
        ("cramfs", Outcome::Passed),
        ("freevxfs", Outcome::Failed),
        ("jffs2", Outcome::NotApplicable), // modprobe was not asked
        ("Ensure /tmp is configured", Outcome::Passed),
        ("nodev option set on /tmp", Outcome::Failed),
        ("nosuid option set on /tmp", Outcome::Passed),
        ("nodev option set on /dev/shm", Outcome::Passed),
        ("/etc/crontab", Outcome::Passed),
        ("password fields are not empty", Outcome::NotApplicable), // /etc/shadow may not be read
        ("root is the only UID 0 account", Outcome::Passed),
    ] {
        let check = by_title(part);
        assert_eq!(check.result, expected, "{check:?}");
    }
    files["/etc/debian_version"] = "11.9\n".into();
    assert_eq!(scan_of(&files).reason.as_deref(), Some("its requirements do not hold"));
}

#[cfg(target_os = "linux")]
#[test]
fn on_this_system() {
    use muster_sca::Linux;
    for name in ["sca_unix_audit.yml", "cis_debian12.yml"] {
        let Some(text) = text(name) else { return };
        // Without requirements, so that all of it runs; without commands, for this is somebody's machine.
        let (head, rest) = text.split_once("\nrequirements:").unwrap();
        let at = ["\nvariables:", "\nchecks:"].iter().filter_map(|section| rest.find(section)).min().unwrap();
        let policy = Policy::parse(&format!("{head}{}", &rest[at..])).unwrap();
        let report = scan(&policy, &Linux::default(), Options::default());
        adds_up(&report);
        assert_eq!(report.reason, None);
        let commands = report
            .checks
            .iter()
            .filter(|check| check.reason.as_ref().is_some_and(|reason| reason.contains("commands are not allowed")));
        assert!(commands.count() > 1);
    }
}
