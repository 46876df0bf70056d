//! os-release(5).

use muster_core::problem::Problem;

use crate::package::Os;

/// What a system says that it is.
///
/// # Errors
/// When it has no `ID`.
pub fn parse(text: &str) -> Result<Os, Problem> {
    let get = |name: &str| {
        let mut assigned = text.lines().filter_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
        // As in a shell, the last assignment counts.
        assigned.next_back().map(unquoted).filter(|value| !value.is_empty())
    };
    let distribution = get("ID").ok_or_else(|| Problem::new("no-os-release", "", "os-release has no ID"))?;
    let codename = ["UBUNTU_CODENAME", "DEBIAN_CODENAME", "VERSION_CODENAME"].into_iter().find_map(get);
    Ok(Os { distribution, version: get("VERSION_ID").unwrap_or_default(), codename })
}

/// A value without the shell's quotes: in double quotes a backslash stands before what is to be taken as it is.
fn unquoted(value: &str) -> String {
    let value = value.trim();
    let inner = |quote| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
    if let Some(inner) = inner('\'') {
        return inner.to_owned();
    }
    let mut text = String::new();
    let mut chars = inner('"').unwrap_or(value).chars();
    while let Some(char) = chars.next() {
        text.extend(if char == '\\' { chars.next() } else { Some(char) });
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_derivatives() {
        let os = |text| parse(text).unwrap();
        let debian = os(
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n",
        );
        assert_eq!(
            debian,
            Os { distribution: "debian".into(), version: "12".into(), codename: Some("bookworm".into()) }
        );
        let mint = os(
            "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_ID=21.3\nVERSION_CODENAME=virginia\nUBUNTU_CODENAME=jammy",
        );
        assert_eq!(mint.codename.as_deref(), Some("jammy"));
        let rhel = os("# a comment\nID='rhel'\n VERSION_ID=\"9.4\"\nVERSION_CODENAME=\"\"\n");
        assert_eq!(rhel, Os { distribution: "rhel".into(), version: "9.4".into(), codename: None });
        assert_eq!(os("ID=\"a\\\"b\"\nID=\"c\\\\d\"").distribution, "c\\d");
        assert_eq!(parse("NAME=x\nMYID=y").unwrap_err().code, "no-os-release");
    }
}
