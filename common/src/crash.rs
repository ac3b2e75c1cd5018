//! Places at which a fault run can make a process die: between two steps that may be torn apart by a crash.
//!
//! Invariant: only in debug builds. In a release build a place is an empty function, and the variable is not read.

/// The variable that names the folder in which a place is armed by a file of its name.
pub const VARIABLE: &str = "CRASH_POINTS";

/// Ends the process at once if this place is armed. Of several processes that come by, the one that takes the file away
/// dies, so that one file is one crash.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    static FOLDER: std::sync::LazyLock<Option<std::path::PathBuf>> =
        std::sync::LazyLock::new(|| std::env::var_os(VARIABLE).map(Into::into));
    if FOLDER.as_ref().is_some_and(|folder| std::fs::remove_file(folder.join(name)).is_ok()) {
        std::process::abort();
    }
}

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
#[inline]
pub fn point(_: &str) {}
