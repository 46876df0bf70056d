//! Where the feed speaks of a distribution: in which container, and how it names the release there. The names are those that the
//! feed's own records `FEED-GLOBAL`, `CNA-MAPPING-GLOBAL` and `OSCPE-GLOBAL` give.

use crate::package::Os;
use crate::version::Format;

/// A system as the feed names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The container that speaks of it.
    pub container: String,
    /// Whose packages and versions the container speaks of.
    pub format: Format,
    /// How the container names the release.
    naming: Naming,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Naming {
    /// It does not: it is the container of this release alone.
    Container,
    /// By any of these.
    Platforms(Vec<String>),
    /// By CPEs with a minor version, one for each minor version that an advisory came out for.
    Minors { cpe: String, minor: u32 },
}

/// How far off a platform is that names a later minor version: further than any earlier one.
const LATER: u32 = 1 << 16;

impl Release {
    /// The release of a system; none when the feed does not speak of its distribution, or the system does not say which release
    /// it is.
    #[must_use]
    pub fn of(os: &Os) -> Option<Self> {
        let (major, minor) = numbers(&os.version);
        let major = || major.filter(|number| *number > 0);
        let cpe = |product: &str| Some(Naming::Platforms(vec![format!("cpe:/o:{product}:{}", major()?)]));
        let suse = |products: &[&str]| {
            let update = if minor == 0 { String::new() } else { format!(":sp{minor}") };
            let major = major()?;
            Some(Naming::Platforms(products.iter().map(|name| format!("cpe:/o:suse:{name}:{major}{update}")).collect()))
        };
        let (container, format, naming) = match os.distribution.as_str() {
            "debian" => ("debian".into(), Format::Dpkg, Naming::Platforms(vec![debian(os)?])),
            "ubuntu" | "linuxmint" | "pop" => {
                ("canonical".into(), Format::Dpkg, Naming::Platforms(vec![os.codename.clone()?]))
            }
            "rhel" | "centos" => (format!("redhat_{}", major()?), Format::Rpm, cpe("redhat:enterprise_linux")?),
            "almalinux" => (format!("alma_{}", major()?), Format::Rpm, cpe("almalinux:almalinux")?),
            "ol" => ("oraclelinux".into(), Format::Rpm, cpe("oracle:linux")?),
            "rocky" => (
                "rocky".into(),
                Format::Rpm,
                Naming::Minors { cpe: format!("cpe:/o:rocky:rocky:{}.", major()?), minor },
            ),
            "amzn" => {
                // The first Amazon Linux has years for versions.
                let major = major().map(|major| if (2011..=2018).contains(&major) { 1 } else { major })?;
                (format!("alas_{major}"), Format::Rpm, Naming::Container)
            }
            // Long-term support goes on under a name of its own; who has not bought it has the vulnerability all the same.
            "sles" => (format!("suse_server_{}", major()?), Format::Rpm, suse(&["sles", "sles-ltss"])?),
            "sles_sap" => (format!("suse_server_{}", major()?), Format::Rpm, suse(&["sles_sap", "sles", "sles-ltss"])?),
            "sled" => (format!("suse_desktop_{}", major()?), Format::Rpm, suse(&["sled"])?),
            // Leap 15 is built from the packages of SUSE Linux Enterprise 15 with the service pack of its minor version.
            "opensuse-leap" => (format!("suse_server_{}", major()?), Format::Rpm, suse(&["sles"])?),
            _ => return None,
        };
        Some(Self { container, format, naming })
    }

    /// How far off a list of platforms is from this release: 0 is this very release, none another one. Of an entry's lists the
    /// nearest counts. An empty list is about every release.
    #[must_use]
    pub fn distance(&self, platforms: &[String]) -> Option<u32> {
        if platforms.is_empty() {
            return Some(0);
        }
        platforms.iter().filter_map(|platform| self.distance_to(platform)).min()
    }

    /// How far off one platform is, or `""` for every release.
    #[must_use]
    pub fn distance_to(&self, platform: &str) -> Option<u32> {
        match &self.naming {
            _ if platform.is_empty() => Some(0),
            Naming::Container => Some(0),
            Naming::Platforms(own) => own.iter().any(|own| is_or_edition_of(platform, own)).then_some(0),
            // A minor version gets the advisories of those before it with its packages. Later ones tell of what is in this one too.
            Naming::Minors { cpe, minor } => {
                let of: u32 = platform.strip_prefix(cpe)?.parse().ok()?;
                Some(minor.checked_sub(of).unwrap_or_else(|| LATER.saturating_add(of - minor)))
            }
        }
    }
}

/// `cpe:/o:redhat:enterprise_linux:7::server` is an edition of `cpe:/o:redhat:enterprise_linux:7`;
/// `cpe:/o:suse:sles:15:sp5` is another product than `cpe:/o:suse:sles:15`.
fn is_or_edition_of(platform: &str, own: &str) -> bool {
    platform.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Debian's code name; old systems only say the number.
fn debian(os: &Os) -> Option<String> {
    let by_number = || match numbers(&os.version).0? {
        8 => Some("jessie"),
        9 => Some("stretch"),
        10 => Some("buster"),
        11 => Some("bullseye"),
        12 => Some("bookworm"),
        13 => Some("trixie"),
        _ => None,
    };
    os.codename.clone().or_else(|| by_number().map(str::to_owned))
}

/// The first two numbers of a version.
fn numbers(version: &str) -> (Option<u32>, u32) {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    (parts.next().flatten(), parts.next().flatten().unwrap_or(0))
}
