//! What the first start sets up: the terminal, by MetaQuotes' own installer, and the EA, by the terminal's compiler.
//!
//! Each step looks at what is there, so that a start that was cut short goes on where it was.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode, Uri};
use tokio::io::AsyncWriteExt as _;

use crate::connections::{cause, connections};
use crate::health::State;
use crate::parts::Part;
use crate::settings::{Installer, Settings};
use crate::startup;
use crate::terminal::WORKED;
use crate::wine::{Wine, windows};

/// The terminal's program.
pub(crate) const TERMINAL: &str = "terminal64.exe";
const COMPILER: &str = "metaeditor64.exe";
const COMPILER_LOG: &str = "compile.log";
const DOWNLOAD_DEADLINE: Duration = Duration::from_mins(10);
/// The installer itself downloads some hundred megabytes.
const INSTALL_DEADLINE: Duration = Duration::from_mins(20);
const COMPILE_DEADLINE: Duration = Duration::from_mins(3);
/// A folder that has not grown for so long is complete, whatever still runs there.
const STILL: Duration = Duration::from_secs(10);
/// Says that the installation came to its end.
const INSTALLED: &str = "terminal-installed";
/// What every Windows program begins with; a page that says sorry does not.
const PROGRAM: &[u8] = b"MZ";
const INSTALLER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Sets up what is missing on this display.
pub(crate) async fn install(part: &Part, settings: &Settings, wine: &Wine, display: u32) -> Result<(), String> {
    part.set(State::Preparing("preparing the Wine prefix".to_owned()));
    let folder = wine.program_folder(&settings.folder);
    wine.prepare(display, installed(&settings.data, &folder)).await?;
    if !installed(&settings.data, &folder) {
        part.set(State::Preparing("installing the terminal".to_owned()));
        install_terminal(settings, wine, display, &folder).await?;
    }
    let source = format!("MQL5\\Experts\\{}.mq5", settings.chart.expert);
    let program = folder.join("MQL5").join("Experts").join(format!("{}.ex5", settings.chart.expert));
    let changed = copy(&settings.ea, &folder.join("MQL5"))?;
    if changed || !program.is_file() {
        part.set(State::Preparing("compiling the EA".to_owned()));
        compile(wine, display, &folder, &source, &program).await?;
    }
    if !settings.chart.inputs.is_empty() {
        let presets = folder.join("MQL5").join("Presets");
        std::fs::create_dir_all(&presets).map_err(failed("make", &presets))?;
        let file = presets.join(format!("{}.set", settings.chart.expert));
        let text = startup::encode(&startup::set(&settings.chart.inputs));
        std::fs::write(&file, text).map_err(failed("write", &file))?;
    }
    Ok(())
}

/// Whether an installation came to its end: its programs may be there before the rest is.
fn installed(data: &Path, folder: &Path) -> bool {
    programs(folder) && [INSTALLED, WORKED].iter().any(|mark| data.join(mark).exists())
}

fn programs(folder: &Path) -> bool {
    [TERMINAL, COMPILER].iter().all(|program| folder.join(program).is_file())
}

/// Bytes in a folder, as far as they can be counted.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}

async fn install_terminal(settings: &Settings, wine: &Wine, display: u32, folder: &Path) -> Result<(), String> {
    let file = match &settings.installer {
        Installer::File(file) => file.clone(),
        Installer::Download(uri) => {
            let file = settings.data.join("mt5setup.exe");
            let outcome = tokio::time::timeout(DOWNLOAD_DEADLINE, download(uri, &file)).await;
            outcome.map_err(|_| format!("{uri} took longer than {} s", DOWNLOAD_DEADLINE.as_secs()))??;
            file
        }
    };
    let program = wine.program(display, &[&windows(&file), "/auto"]);
    let status = wine.run(program, INSTALL_DEADLINE).await?;
    // The installer may leave its work to another program, or start the terminal when it is done.
    let started = Instant::now();
    let (mut bytes, mut still_since) = (size(folder), Instant::now());
    loop {
        let works = wine.any_of(&settings.folder);
        if programs(folder) && (!works || still_since.elapsed() > STILL) {
            break;
        }
        if started.elapsed() > INSTALL_DEADLINE || !works {
            let folder = folder.display();
            return Err(format!("the installer ended ({status}) without a terminal and its compiler in {folder}"));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = size(folder);
        if now != bytes {
            (bytes, still_since) = (now, Instant::now());
        }
    }
    wine.close(display, TERMINAL).await;
    wine.end_all().await;
    let mark = settings.data.join(INSTALLED);
    std::fs::write(&mark, "").map_err(failed("write", &mark))
}

/// Fetches the installer into a file, which appears under its name only when it is whole.
async fn download(uri: &Uri, file: &Path) -> Result<(), String> {
    let request = Request::get(uri).body(Full::default()).map_err(|error| error.to_string())?;
    let response = connections(None)?.request(request).await;
    let response = response.map_err(|error| format!("{uri} can't be fetched: {}", cause(&error)))?;
    if response.status() != StatusCode::OK {
        return Err(format!("{uri} answered {}; set MT5_INSTALLER to a file", response.status()));
    }
    let part = file.with_extension("part");
    let mut output = tokio::fs::File::create(&part).await.map_err(failed("make", &part))?;
    let (mut body, mut length, mut head) = (response.into_body(), 0, Vec::<u8>::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("{uri} broke off: {}", cause(&error)))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length > INSTALLER_BYTES_MAX {
            return Err(format!("{uri} is longer than {INSTALLER_BYTES_MAX} bytes"));
        }
        head.extend(data.iter().take(PROGRAM.len().saturating_sub(head.len())));
        output.write_all(&data).await.map_err(failed("write", &part))?;
    }
    if head != PROGRAM {
        return Err(format!("{uri} is not a Windows program"));
    }
    output.sync_all().await.map_err(failed("write", &part))?;
    tokio::fs::rename(&part, file).await.map_err(failed("rename", &part))
}

/// Brings the EA's sources into the terminal's folder; whether one changed.
fn copy(from: &Path, to: &Path) -> Result<bool, String> {
    std::fs::create_dir_all(to).map_err(failed("make", to))?;
    let mut changed = false;
    for entry in std::fs::read_dir(from).map_err(failed("read", from))? {
        let entry = entry.map_err(failed("read", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            changed |= copy(&source, &target)?;
            continue;
        }
        let content = std::fs::read(&source).map_err(failed("read", &source))?;
        if std::fs::read(&target).is_ok_and(|present| present == content) {
            continue;
        }
        std::fs::write(&target, content).map_err(failed("write", &target))?;
        changed = true;
    }
    Ok(changed)
}

/// The compiler says in its log how it went; it wants paths without spaces, so ours are relative.
async fn compile(wine: &Wine, display: u32, folder: &Path, source: &str, program: &Path) -> Result<(), String> {
    let log = folder.join(COMPILER_LOG);
    for old in [&log, &program.to_path_buf()] {
        if old.exists() {
            std::fs::remove_file(old).map_err(failed("remove", old))?;
        }
    }
    let compiler = windows(&folder.join(COMPILER));
    let (compile, log_to) = (format!("/compile:{source}"), format!("/log:{COMPILER_LOG}"));
    let mut command = wine.program(display, &[&compiler, "/portable", &compile, &log_to]);
    command.current_dir(folder);
    let status = wine.run(command, COMPILE_DEADLINE).await?;
    let text = std::fs::read(&log).map(|bytes| startup::decode(&bytes)).unwrap_or_default();
    startup::compiled(&text).map_err(|error| format!("the EA does not compile ({status}): {error}"))?;
    if program.is_file() { Ok(()) } else { Err(format!("the compiler made no {}", program.display())) }
}

fn failed(what: &'static str, path: &Path) -> impl Fn(std::io::Error) -> String {
    let path: PathBuf = path.to_owned();
    move |error| format!("can't {what} {}: {error}", path.display())
}
