//! The data folder: found, checked before anything is created, locked, and the small files in it.
//!
//! Invariant: what we write lies in the folder itself, never inside a server's own folder once that is in place, so a
//! server that was broken into cannot lead root's writes elsewhere.

use std::fmt::Write as _;
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::ServersError;
use super::account::Account;

/// Version of the folder's layout; raised when an older one could not be used as it is.
const LAYOUT: &str = "1";
/// Others may pass through, not look around: each server's user must reach its own folder.
const PASSABLE: u32 = 0o711;
/// Lines of each log shown when a server does not start.
const TAIL_LINES: usize = 15;
/// What belongs to the servers; everything else in the folder is somebody else's.
const OURS: [&str; 21] = [
    "postgres",
    "postgres.new",
    "postgres.hba",
    "postgres.out",
    "postgres.password",
    "rabbitmq",
    "rabbitmq.new",
    "rabbitmq.unfinished",
    "rabbitmq.conf",
    "rabbitmq.plugins",
    "rabbitmq.out",
    "rabbitmq.password",
    "rabbitmq.version",
    "ports",
    "prometheus",
    "prometheus.yml",
    "prometheus.out",
    "rules.yml",
    "alertmanager",
    "alertmanager.yml",
    "alertmanager.out",
];

/// The data folder, which may not exist yet.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    data: PathBuf,
    /// The deepest folder of the path that exists: the data folder itself or an ancestor.
    existing: PathBuf,
}

impl Folder {
    /// Makes the path absolute and free of links, so that it is one and the same on every start.
    pub(super) fn locate(data: &Path) -> Result<Self, ServersError> {
        let failed = || ServersError::io(format!("look at the data folder {}", data.display()));
        let absolute = std::path::absolute(data).map_err(failed())?;
        for ancestor in absolute.ancestors() {
            match ancestor.canonicalize() {
                Ok(existing) => {
                    let rest = absolute.strip_prefix(ancestor).unwrap_or(Path::new(""));
                    // Joining an empty rest would add a slash.
                    let data = if rest.as_os_str().is_empty() { existing.clone() } else { existing.join(rest) };
                    return Ok(Self { data, existing });
                }
                // One that may not be looked into is found closed later, and named.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {}
                Err(error) => return Err(failed()(error)),
            }
        }
        Err(failed()(ErrorKind::NotFound.into()))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    pub(super) fn exists(&self) -> bool {
        self.data == self.existing
    }

    /// Ours to open for the servers' users: made by an earlier start, or still empty.
    fn is_ours(&self) -> bool {
        self.path("version").exists() || std::fs::read_dir(&self.data).is_ok_and(|mut entries| entries.next().is_none())
    }

    /// Refuses a path that RabbitMQ's scripts would split or misread.
    pub(super) fn check_path(&self) -> Result<(), ServersError> {
        let safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+@=,".contains(byte);
        if self.data.as_os_str().as_bytes().iter().all(safe) {
            return Ok(());
        }
        Err(ServersError::UnsafePath { data: self.data.clone() })
    }

    /// Refuses a data folder that the server's user could not reach.
    pub(super) async fn check_reach(&self, account: &Account) -> Result<(), ServersError> {
        // A data folder of ours is opened when it is locked.
        let way = if self.exists() && self.is_ours() {
            self.existing.parent().unwrap_or(&self.existing)
        } else {
            &self.existing
        };
        let closed = |ancestor| ServersError::Closed { data: self.data.clone(), ancestor, user: account.name.clone() };
        account.closed_ancestor(way).await?.map_or(Ok(()), |ancestor| Err(closed(ancestor)))
    }

    /// Refuses a folder laid out by another version of this program.
    pub(super) fn check_version(&self) -> Result<(), ServersError> {
        match self.read("version") {
            Some(found) if found != LAYOUT => Err(self.other_version("layout", found, format!("layout {LAYOUT}"))),
            _ => Ok(()),
        }
    }

    pub(super) fn other_version(&self, what: &'static str, found: String, wanted: String) -> ServersError {
        ServersError::OtherVersion { data: self.data.clone(), what, found, wanted }
    }

    /// Creates the folder where needed and takes it for this process alone, until the file returned is closed.
    pub(super) fn lock(&self) -> Result<File, ServersError> {
        let failed = || ServersError::io(format!("create the data folder {}", self.data.display()));
        let mut missing: Vec<&Path> = self.data.ancestors().take_while(|path| **path != self.existing).collect();
        missing.reverse();
        for folder in missing {
            DirBuilder::new().recursive(true).mode(PASSABLE).create(folder).map_err(failed())?;
            open(folder)?;
        }
        if self.is_ours() {
            open(&self.data)?;
        }
        let path = self.path("lock");
        let what = || ServersError::io(format!("lock {}", path.display()));
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = options.map_err(what())?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(self.in_use(&mut file)),
            Err(TryLockError::Error(error)) => return Err(what()(error)),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(what())?;
        self.check_version()?;
        self.write("version", LAYOUT)?;
        Ok(file)
    }

    /// Refuses a folder that another process works on; changes nothing.
    pub(super) fn check_free(&self) -> Result<(), ServersError> {
        let Ok(mut file) = File::open(self.path("lock")) else { return Ok(()) };
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Err(self.in_use(&mut file)),
            _ => Ok(()),
        }
    }

    fn in_use(&self, lock: &mut File) -> ServersError {
        let mut holder = String::new();
        let _ = lock.read_to_string(&mut holder);
        ServersError::InUse { data: self.data.clone(), holder: holder.trim().to_owned() }
    }

    /// The trimmed text of a small file; none when it is absent or empty.
    pub(super) fn read(&self, name: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.path(name)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// Writes a small file whole or not at all, readable by us alone.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), ServersError> {
        self.write_for(name, text, None)
    }

    /// The same, for a server's user to read.
    pub(super) fn write_for(&self, name: &str, text: &str, reader: Option<&Account>) -> Result<(), ServersError> {
        let (path, new) = (self.path(name), self.path(&format!("{name}.tmp")));
        let what = || ServersError::io(format!("write {}", path.display()));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(what())?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(what())?;
        if let Some(reader) = reader {
            reader.own(&new)?;
        }
        std::fs::rename(&new, &path).map_err(what())
    }

    /// Whether there is something of this name; not to know is an error.
    pub(super) fn has(&self, name: &str) -> Result<bool, ServersError> {
        let path = self.path(name);
        path.try_exists().map_err(ServersError::io(format!("look for {}", path.display())))
    }

    /// The password of a server, made before its data is; data without it is an error, for it opens nothing any more.
    pub(super) fn password(&self, server: &str) -> Result<String, ServersError> {
        let name = format!("{server}.password");
        if let Some(password) = self.read(&name) {
            return Ok(password);
        }
        if self.has(server)? {
            let what = format!("read {}, the password of the data beside it", self.path(&name).display());
            return Err(ServersError::io(what)(ErrorKind::NotFound.into()));
        }
        let password = random_hex()?;
        self.write(&name, &password)?;
        Ok(password)
    }

    /// An empty folder of this name for a server's user; what was there is removed.
    pub(super) fn create_for(&self, name: &str, account: &Account) -> Result<PathBuf, ServersError> {
        self.remove(name)?;
        let path = self.path(name);
        let created = DirBuilder::new().mode(0o700).create(&path);
        created.map_err(ServersError::io(format!("create {}", path.display())))?;
        account.own(&path)?;
        Ok(path)
    }

    /// Puts a folder that is complete in its place.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), ServersError> {
        let what = format!("rename {} to {to}", self.path(from).display());
        std::fs::rename(self.path(from), self.path(to)).map_err(ServersError::io(what))
    }

    /// Removes a file or a folder with all that is in it, if it is there.
    pub(super) fn remove(&self, name: &str) -> Result<(), ServersError> {
        let path = self.path(name);
        let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(ServersError::io(format!("remove {}", path.display()))(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes all that the servers keep here; the version last, since it says whose folder this is.
    pub(super) fn clear(&self) -> Result<(), ServersError> {
        for name in OURS.into_iter().chain(["version"]) {
            self.remove(&format!("{name}.tmp"))?;
            self.remove(name)?;
        }
        Ok(())
    }

    /// The last lines of these files, for an error message.
    pub(super) fn tail(&self, names: &[&str]) -> String {
        let mut shown = String::new();
        for name in names {
            let text = std::fs::read(self.path(name)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let last = lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default();
            let _ = writeln!(shown, "--- {}\n{}", self.path(name).display(), last.join("\n"));
        }
        shown
    }
}

/// Lets others pass through a folder that we own.
fn open(folder: &Path) -> Result<(), ServersError> {
    let what = || ServersError::io(format!("open {} to the servers' users", folder.display()));
    let metadata = std::fs::metadata(folder).map_err(what())?;
    if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & PASSABLE == PASSABLE {
        return Ok(());
    }
    std::fs::set_permissions(folder, Permissions::from_mode(metadata.mode() & 0o7777 | PASSABLE)).map_err(what())
}

/// 192 random bits, in characters that need no escape in a URL or a configuration file.
pub(super) fn random_hex() -> Result<String, ServersError> {
    let mut text = String::new();
    for byte in random::<24>()? {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// Random bytes from the system.
pub(super) fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], ServersError> {
    let mut bytes = [0; LENGTH];
    let filled = getrandom::fill(&mut bytes);
    filled.map_err(|error| ServersError::io("ask for random bytes")(std::io::Error::other(error)))?;
    Ok(bytes)
}
