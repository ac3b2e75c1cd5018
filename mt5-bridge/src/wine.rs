//! The Windows that the terminal runs in: its prefix, its settings, and how its programs are ended.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tokio::process::Command;

use crate::process::{Children, Running, command};

/// Making a prefix takes a quarter of a minute on a fast machine.
const PREFIX_DEADLINE: Duration = Duration::from_mins(5);
/// The first command after an update of Wine brings the prefix up to date.
const COMMAND_DEADLINE: Duration = Duration::from_mins(5);
/// Asking a program to close takes the start of one more.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);
const END_DEADLINE: Duration = Duration::from_secs(4);
const GONE_POLL: Duration = Duration::from_millis(50);

/// Without these a program that crashes waits for ever in a dialogue or for a debugger, and never ends.
const REGISTRY: &str = "Windows Registry Editor Version 5.00\r\n\r\n\
    [HKEY_CURRENT_USER\\Software\\Wine]\r\n\"Version\"=\"win10\"\r\n\r\n\
    [HKEY_CURRENT_USER\\Software\\Wine\\WineDbg]\r\n\"ShowCrashDialog\"=dword:00000000\r\n\r\n\
    [HKEY_LOCAL_MACHINE\\Software\\Microsoft\\Windows NT\\CurrentVersion\\AeDebug]\r\n\"Auto\"=\"1\"\r\n";

/// One Wine prefix.
#[derive(Clone)]
pub(crate) struct Wine {
    children: Children,
    home: PathBuf,
    prefix: PathBuf,
}

impl Wine {
    /// The prefix in this folder.
    pub(crate) fn new(children: Children, data: &Path) -> Self {
        Self { children, home: data.to_owned(), prefix: data.join("wine") }
    }

    /// A folder below `Program Files`.
    pub(crate) fn program_folder(&self, name: &str) -> PathBuf {
        self.prefix.join("drive_c").join("Program Files").join(name)
    }

    /// A Windows program on this display.
    pub(crate) fn program(&self, display: u32, arguments: &[&str]) -> Command {
        let mut wine = self.tool("wine");
        wine.args(arguments).env("DISPLAY", format!(":{display}"));
        wine
    }

    fn tool(&self, name: &str) -> Command {
        let mut tool = command(name, &self.home);
        tool.env("WINEPREFIX", &self.prefix).env("WINEARCH", "win64").env("WINEDEBUG", "-all");
        // The terminal needs neither .NET nor Internet Explorer, and Wine would ask on the screen to download both; and
        // nobody needs its entries in a menu.
        tool.env("WINEDLLOVERRIDES", "mscoree=d;mshtml=d;winemenubuilder.exe=d");
        tool
    }

    /// Runs a Windows program to its end.
    pub(crate) async fn run(&self, mut program: Command, deadline: Duration) -> Result<ExitStatus, String> {
        self.children.run(&mut program, deadline).await
    }

    /// Makes the prefix unless it was made whole or is `in_use`, and sets what a supervised program needs.
    pub(crate) async fn prepare(&self, display: u32, in_use: bool) -> Result<(), String> {
        let mark = self.home.join("wine-made");
        if !mark.exists() && !in_use {
            // Made in part it can't be completed: the programs that would do it may be missing.
            match std::fs::remove_dir_all(&self.prefix) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(format!("{} can't be removed: {error}", self.prefix.display()));
                }
                _ => {}
            }
            let status = self.run(self.program(display, &["wineboot", "--init"]), PREFIX_DEADLINE).await?;
            if !status.success() {
                return Err(format!("the Wine prefix could not be made: {status}"));
            }
            let mut wait = self.tool("wineserver");
            wait.arg("-w");
            // The registry is on disk once the last program of the set-up has ended.
            self.run(wait, PREFIX_DEADLINE).await?;
            std::fs::write(&mark, "").map_err(|error| format!("{} can't be written: {error}", mark.display()))?;
        }
        let file = self.home.join("wine.reg");
        std::fs::write(&file, REGISTRY).map_err(|error| format!("{} can't be written: {error}", file.display()))?;
        let status = self.run(self.program(display, &["regedit", "/S", &windows(&file)]), COMMAND_DEADLINE).await?;
        if status.success() { Ok(()) } else { Err(format!("Wine's registry could not be set: {status}")) }
    }

    /// Asks a program to close its window, as a person would.
    pub(crate) async fn close(&self, display: u32, program: &str) {
        let outcome = self.run(self.program(display, &["taskkill", "/IM", program]), CLOSE_DEADLINE).await;
        if let Err(error) = outcome {
            tracing::warn!(error, "the program could not be asked to close");
        }
    }

    /// Ends everything in the prefix, also what has lost its server and hangs.
    pub(crate) async fn end_all(&self) {
        let mut server = self.tool("wineserver");
        server.arg("-k");
        if let Err(error) = self.run(server, END_DEADLINE).await {
            tracing::warn!(error, "Wine's server could not be asked to end");
        }
        let started = Instant::now();
        while let Some(process) = self.processes().next() {
            if started.elapsed() > END_DEADLINE {
                let (id, command) = (process.id, process.command);
                return tracing::error!(process.id = id, command, "a program of Wine can't be ended");
            }
            self.processes().for_each(|process| process.kill());
            tokio::time::sleep(GONE_POLL).await;
        }
    }

    /// Whether the server runs that all programs of the prefix depend on. When it dies they don't end, they hang.
    pub(crate) fn serves(&self) -> bool {
        self.processes().any(|process| process.command.contains("wineserver"))
    }

    /// Whether a program of this folder, or its updater, runs: a terminal that updates itself ends, and its updater
    /// starts it again. The editor that a person has open does not count.
    pub(crate) fn any_of(&self, folder: &str) -> bool {
        let folder = format!("\\{folder}\\");
        self.processes().map(|process| process.command).any(|command| {
            (command.contains(&folder) || command.contains("\\MetaQuotes\\"))
                && !command.to_ascii_lowercase().contains("metaeditor64.exe")
        })
    }

    fn processes(&self) -> impl Iterator<Item = Running> {
        Running::with_variable(format!("WINEPREFIX={}", self.prefix.display()))
    }
}

/// A path as Windows programs see it: `Z:` is the whole machine.
pub(crate) fn windows(path: &Path) -> String {
    format!("Z:{}", path.display()).replace('/', "\\")
}
