//! Which vulnerabilities the packages of a system have.

use std::collections::{BTreeMap, HashMap};

use muster_core::problem::Problem;

use crate::cve_id::CveId;
use crate::database::Database;
use crate::distribution::Release;
use crate::error::Error;
use crate::findings::{Counts, Finding, Findings, Reason, Undetermined};
use crate::judge::{Doubt, Verdict, judge, together};
use crate::package::{Os, Package};
use crate::store::{Reader, Row};
use crate::version::Format;

/// The most packages of one system.
pub const MAX_PACKAGES: usize = 50_000;
/// The most statements that one scan looks at: ten times what a system with a hundred kernels needs.
const MAX_STATEMENTS: usize = 5_000_000;
/// The most findings and doubts of one scan.
const MAX_FINDINGS: usize = 200_000;

impl Database {
    /// Matches the packages of a system with the database as it is at one moment.
    ///
    /// A package is judged by what its distribution says of it by name. Debian and Ubuntu track vulnerabilities by source package, so there
    /// what is said of a package's source counts too, with the source's version, for CVEs that do not name the package itself.
    ///
    /// # Errors
    /// When there are more than [`MAX_PACKAGES`], or so many statements about them that no system can be meant; when the disk
    /// fails.
    pub fn match_packages(&self, os: &Os, packages: &[Package]) -> Result<Findings, Error> {
        if packages.len() > MAX_PACKAGES {
            let message = format!("{} packages; a system has at most {MAX_PACKAGES}", packages.len());
            return Err(Problem::new("too-many-packages", "/packages", message).into());
        }
        let reader = self.reader()?;
        let mut findings = Findings { offset: reader.contents.offset, ..Findings::default() };
        let mut scan = match Scan::new(&reader, os)? {
            Ok(scan) => scan,
            Err(reason) => {
                findings.undetermined.push(Undetermined { reason, cve: None, package: None, version: None });
                findings.unjudged = 1;
                return Ok(findings);
            }
        };
        for package in packages {
            scan.package(package, &mut findings)?;
            if findings.findings.len() + findings.undetermined.len() > MAX_FINDINGS {
                let message = format!("more than {MAX_FINDINGS} findings: this is no system");
                return Err(Problem::new("too-many-findings", "/packages", message).into());
            }
        }
        findings.findings.sort_unstable();
        findings.undetermined.sort_unstable();
        findings.unjudged = u32::try_from(findings.undetermined.len()).unwrap_or(u32::MAX);
        findings.counts = findings.findings.iter().fold(Counts::default(), |mut counts, finding| {
            counts.count(finding.severity);
            counts
        });
        Ok(findings)
    }
}

/// One scan: a system and the container that speaks of it.
struct Scan<'r> {
    reader: &'r Reader,
    release: Release,
    container: u16,
    /// How far off the lists of platforms are that were met.
    distances: HashMap<u32, Option<u32>>,
    /// How many statements were looked at.
    statements: usize,
}

impl<'r> Scan<'r> {
    fn new(reader: &'r Reader, os: &Os) -> Result<Result<Self, Reason>, Error> {
        if reader.contents.cves == 0 {
            return Ok(Err(Reason::EmptyDatabase));
        }
        let Some(release) = Release::of(os) else { return Ok(Err(Reason::UnknownDistribution)) };
        let Some(container) = reader.container(&release.container)? else { return Ok(Err(Reason::UnknownRelease)) };
        if !reader.covered(container)?.iter().any(|platform| release.distance_to(platform).is_some()) {
            return Ok(Err(Reason::UnknownRelease));
        }
        Ok(Ok(Self { reader, release, container, distances: HashMap::new(), statements: 0 }))
    }

    fn package(&mut self, package: &Package, findings: &mut Findings) -> Result<(), Error> {
        let undetermined = |reason, cve| {
            let (package, version) = (Some(package.name.clone()), Some(package.version.clone()));
            Undetermined { reason, cve, package, version }
        };
        if package.format != self.release.format {
            findings.undetermined.push(undetermined(Reason::ForeignFormat, None));
            return Ok(());
        }
        findings.scanned += 1;
        let mut judged = BTreeMap::new();
        let mut listed = self.names(&package.name, &package.version, &mut judged)?;
        if let (Format::Dpkg, Some(source)) = (package.format, &package.source)
            && source.name != package.name
        {
            let version = source.version.as_ref().unwrap_or(&package.version);
            listed |= self.names(&source.name, version, &mut judged)?;
        }
        findings.unlisted += u32::from(!listed);
        for (cve, (row, verdict)) in judged {
            match verdict {
                None => {
                    findings.undetermined.push(undetermined(Reason::InvalidVersion, None));
                    break;
                }
                Some(Verdict::Unaffected) => {}
                Some(Verdict::Undetermined(doubt)) => {
                    findings.undetermined.push(undetermined(reason(doubt), Some(cve)))
                }
                Some(Verdict::Affected { fixed }) => findings.findings.push(Finding {
                    severity: row.severity,
                    cve,
                    package: package.name.clone(),
                    version: package.version.clone(),
                    arch: package.arch.clone(),
                    fixed,
                }),
            }
        }
        Ok(())
    }

    /// Judges a version by what the container says of a name in this release; CVEs that are judged already stay so. A version that
    /// is none has no verdict. Whether the container speaks of the name at all.
    fn names(&mut self, name: &str, version: &str, judged: &mut Judged) -> Result<bool, Error> {
        let rows = self.reader.rows(self.container, name)?;
        self.statements += rows.len();
        if self.statements > MAX_STATEMENTS {
            let message = format!("more than {MAX_STATEMENTS} statements about these packages: this is no system");
            return Err(Problem::new("too-many-findings", "/packages", message).into());
        }
        let listed = !rows.is_empty();
        let installed = self.release.format.version(version);
        for (cve, row) in rows {
            let distances = row.affected.iter().map(|(platforms, _)| self.distance(*platforms));
            let distances = distances.collect::<Result<Vec<_>, _>>()?;
            let Some(nearest) = distances.iter().flatten().min() else { continue };
            let near = distances.iter().map(|distance| distance.as_ref() == Some(nearest));
            let format = self.release.format;
            let verdict = installed.as_ref().map(|installed| {
                let near = row.affected.iter().zip(near).filter(|(_, near)| *near);
                together(format, near.map(|((_, versions), _)| judge(versions, format, installed)))
            });
            judged.entry(cve).or_insert((row, verdict));
        }
        Ok(listed)
    }

    fn distance(&mut self, platforms: u32) -> Result<Option<u32>, Error> {
        if let Some(distance) = self.distances.get(&platforms) {
            return Ok(*distance);
        }
        let distance = self.release.distance(&self.reader.platforms(platforms)?);
        self.distances.insert(platforms, distance);
        Ok(distance)
    }
}

/// What was found of a package: by CVE the row that judges it, and the verdict, none when the version is none.
type Judged = BTreeMap<CveId, (Row, Option<Verdict>)>;

fn reason(doubt: Doubt) -> Reason {
    match doubt {
        Doubt::Unknown => Reason::FeedUnknown,
        Doubt::Unreadable => Reason::FeedUnreadable,
        Doubt::Contradiction => Reason::FeedContradicts,
    }
}
