//! The user a server runs as: an unprivileged one when we are root, ourselves otherwise.
//!
//! Invariant: root never runs a server; data that exists is served by the user who owns it.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::ServersError;

/// Where the servers' programs are looked for.
pub(super) const SEARCHED: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Used when the package's own user is absent.
const FALLBACK_USER: &str = "nobody";

/// Who a server runs as; `switch` is none when that is who we are.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) name: String,
    switch: Option<(u32, u32)>,
}

impl Account {
    /// The owner of the server's folder if there is one, else `preferred` if that user exists, else nobody.
    pub(super) fn of(folder: &Path, preferred: &str) -> Result<Self, ServersError> {
        let ourselves = rustix::process::geteuid();
        if !ourselves.is_root() {
            return Ok(Self { name: format!("with id {}", ourselves.as_raw()), switch: None });
        }
        if let Ok(owner) = std::fs::metadata(folder)
            && owner.uid() != 0
        {
            return Ok(Self { name: format!("with id {}", owner.uid()), switch: Some((owner.uid(), owner.gid())) });
        }
        let users = std::fs::read_to_string("/etc/passwd").map_err(ServersError::io("read /etc/passwd"))?;
        let found = [preferred, FALLBACK_USER].into_iter().find_map(|name| Some((name, identity(&users, name)?)));
        let (name, ids) = found.unwrap_or((FALLBACK_USER, (65534, 65534)));
        Ok(Self { name: name.to_owned(), switch: Some(ids) })
    }

    /// A command run as this user in a session of its own, which a terminal's Ctrl-C does not reach, and with an
    /// environment that holds nothing of ours.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("setsid");
        if let Some((user, group)) = self.switch {
            let (user, group) = (format!("--reuid={user}"), format!("--regid={group}"));
            command.args(["setpriv", &user, &group, "--clear-groups", "--"]);
        }
        command.arg(program.as_ref()).env_clear().current_dir("/");
        command.env("PATH", SEARCHED).env("LC_ALL", "C.UTF-8");
        command
    }

    /// Gives a file or folder to this user.
    pub(super) fn own(&self, path: &Path) -> Result<(), ServersError> {
        let Some((user, group)) = self.switch else { return Ok(()) };
        chown(path, Some(user), Some(group))
            .map_err(ServersError::io(format!("change the owner of {}", path.display())))
    }

    /// Whether this user may enter the folder, as the system itself judges it.
    async fn enters(&self, folder: &Path) -> Result<bool, ServersError> {
        let mut probe = self.command("test");
        probe.arg("-x").arg(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = probe.status().await.map_err(ServersError::io("run setsid, setpriv and test"))?;
        Ok(status.success())
    }

    /// The first folder on the way to `folder` (which exists) that this user may not enter.
    pub(super) async fn closed_ancestor(&self, folder: &Path) -> Result<Option<PathBuf>, ServersError> {
        if self.enters(folder).await? {
            return Ok(None);
        }
        let mut way: Vec<&Path> = folder.ancestors().collect();
        way.reverse();
        for ancestor in way {
            if !self.enters(ancestor).await? {
                return Ok(Some(ancestor.to_owned()));
            }
        }
        Ok(None)
    }
}

/// User and group id of a name in the text of `/etc/passwd`.
fn identity(users: &str, name: &str) -> Option<(u32, u32)> {
    users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (*fields.first()? == name).then_some(())?;
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    })
}
