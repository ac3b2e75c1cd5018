//! From a checked and translated source to a program: writes the runtime beside the output and calls g++.
//!
//! An object is compiled when its text, a header or an option has changed, and not otherwise. Builds that share a
//! folder wait for one another.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::finding::Finding;
use crate::outline::Outline;
use crate::source::Source;
use crate::{documented, lint, translate};

macro_rules! runtime {
    ($($name:literal),* $(,)?) => { &[$(($name, include_str!(concat!("../runtime/", $name)))),*] };
}

/// The C++ runtime, carried in this program.
const RUNTIME: &[(&str, &str)] = runtime![
    "account.cpp",
    "account.hpp",
    "array.cpp",
    "array.hpp",
    "clock.cpp",
    "clock.hpp",
    "constants.hpp",
    "event.cpp",
    "event.hpp",
    "file.cpp",
    "file.hpp",
    "format.cpp",
    "format.hpp",
    "global.cpp",
    "global.hpp",
    "http.cpp",
    "http.hpp",
    "link.cpp",
    "link.hpp",
    "main.cpp",
    "market.cpp",
    "market.hpp",
    "mql5.hpp",
    "number.cpp",
    "number.hpp",
    "record.cpp",
    "record.hpp",
    "selection.cpp",
    "terminal.cpp",
    "terminal.hpp",
    "text.cpp",
    "text.hpp",
    "trade.cpp",
    "trade.hpp",
    "view.hpp",
];

/// Reading what was never written shows; lines and names stay known.
const OPTIONS: [&str; 7] = [
    "-std=c++20",
    "-Wall",
    "-Wextra",
    // Handlers have the parameters that MQL5 gives them, and MetaEditor lets a switch leave values out.
    "-Wno-unused-parameter",
    "-Wno-switch",
    "-g",
    "-ftrivial-auto-var-init=pattern",
];
/// Integers wrap as in MQL5; a division by zero traps, for the runtime to tell of it.
const PLAIN: [&str; 4] =
    ["-O2", "-fwrapv", "-fsanitize=integer-divide-by-zero,float-divide-by-zero", "-fsanitize-undefined-trap-on-error"];
/// Without `-fwrapv`, so that a sum that does not fit is reported: MQL5 would go on with a wrong number.
const SANITIZED: [&str; 4] = [
    "-O1",
    "-fsanitize=address,undefined,float-divide-by-zero",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
];

/// What to build.
#[derive(Debug, Clone)]
pub struct Build {
    /// The Expert Advisor, an `.mq5` file.
    pub source: PathBuf,
    /// Where `#include <…>` is looked for.
    pub include: PathBuf,
    /// The program to make; objects are kept in a folder beside it.
    pub out: PathBuf,
    /// With the address and undefined behaviour sanitizers.
    pub sanitize: bool,
}

/// Why there is no program.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The source is not as it must be.
    #[error("{}", listed(.0))]
    Source(Vec<Finding>),
    /// Something that the build needs is not installed.
    #[error("{what} is missing; install it with: apt-get install --no-install-recommends {package}")]
    Missing {
        /// The program or the header.
        what: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// g++ refused.
    #[error("{0}")]
    Compiler(String),
    /// A file can't be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

fn listed(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    format!("{}\n{} findings", lines.join("\n"), findings.len())
}

/// Checks a program without compiling it; its translation.
///
/// # Errors
/// All findings.
pub fn check(source: &Path, include: &Path) -> Result<String, BuildError> {
    let read = Source::read(source, include).map_err(BuildError::Source)?;
    let outline = Outline::of(&read);
    let mut findings = lint::findings(&read, &outline);
    findings.extend(documented::findings(&read, &outline));
    let name = source.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    match translate::translate(&read, &outline, &name) {
        Ok(text) if findings.is_empty() => return Ok(text),
        Ok(_) => {}
        Err(more) => findings.extend(more),
    }
    findings.sort();
    findings.dedup();
    Err(BuildError::Source(findings))
}

/// Makes the program; false where nothing had to be done.
///
/// # Errors
/// Findings in the source, missing packages, what g++ says.
pub fn build(build: &Build) -> Result<bool, BuildError> {
    let program = check(&build.source, &build.include)?;
    let mut options = OPTIONS.to_vec();
    options.extend(if build.sanitize { SANITIZED } else { PLAIN });
    let runtime = runtime(&build.out, &options)?;
    let folder = build.out.with_added_extension("build");
    let _held = hold(&folder)?;
    let include = format!("-I{}", runtime.display());
    options.push(&include);
    compile(&folder, &[("expert.cpp", &program)], "", &options)?;
    let expert = folder.join("expert.o");
    // A build that was killed before it linked leaves the program of an earlier source.
    if made(&build.out) > made(&expert) {
        return Ok(false);
    }
    let mut objects: Vec<PathBuf> = sources(RUNTIME).map(|name| runtime.join(name).with_extension("o")).collect();
    objects.push(expert);
    let linked = folder.join("linked");
    link(&objects, &linked, &options)?;
    fs::rename(&linked, &build.out).map_err(at(&build.out))?;
    Ok(true)
}

/// When a file was written last; none where there is none.
fn made(path: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(path).and_then(|file| file.modified()).ok()
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> BuildError {
    let path = path.to_owned();
    move |error| BuildError::File { path, error }
}

/// Makes a folder, and keeps other builds out of it while the result lives.
fn hold(folder: &Path) -> Result<File, BuildError> {
    fs::create_dir_all(folder).map_err(at(folder))?;
    let path = folder.join("lock");
    let file = File::create(&path).map_err(at(&path))?;
    file.lock().map_err(at(&path))?;
    Ok(file)
}

/// The folder of the compiled runtime. All programs beside one another share it.
fn runtime(out: &Path, options: &[&str]) -> Result<PathBuf, BuildError> {
    let names = names();
    let mut units = RUNTIME.to_vec();
    units.push(("names.hpp", &names));
    let texts: Vec<&str> = units.iter().map(|(_, text)| *text).collect();
    let sum = digest(&[texts, options.to_vec()].concat());
    let folder = out.with_file_name(format!("ea-native-runtime-{}", &sum[..16]));
    let _held = hold(&folder)?;
    compile(&folder, &units, &sum, options)?;
    Ok(folder)
}

/// `EnumToString` of the documented enumerations.
fn names() -> String {
    let text = RUNTIME.iter().find(|(name, _)| *name == "constants.hpp").map_or("", |(_, text)| text);
    let outline = Outline::of(&Source::of_text("constants.hpp", text));
    let enumerations: Vec<_> = outline.enumerations.iter().collect();
    let functions = translate::enum_to_string(&enumerations);
    format!("#pragma once\n#include \"constants.hpp\"\nnamespace mql {{\n{functions}}}\n")
}

fn digest(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    digest.finalize().iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Compiles what has changed, as many at once as there are processors. `headers` stands for the texts of what is included.
fn compile(folder: &Path, units: &[(&str, &str)], headers: &str, options: &[&str]) -> Result<(), BuildError> {
    let mut wanted = Vec::new();
    for (name, text) in units {
        let path = folder.join(name);
        // Others may be reading what is there already.
        if fs::read(&path).ok().as_deref() != Some(text.as_bytes()) {
            fs::write(&path, text).map_err(at(&path))?;
        }
        let mark = path.with_extension("sha256");
        let sum = digest(&[&[*text, headers], options].concat());
        let is_unit = path.extension().is_some_and(|extension| extension == "cpp");
        if is_unit && fs::read_to_string(&mark).ok().as_ref() != Some(&sum) {
            wanted.push((path, mark, sum));
        }
    }
    let queue = Mutex::new(wanted);
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((path, mark, sum)) = queue.lock().ok().and_then(|mut queue| queue.pop()) {
                    let compiled = compile_one(&path, options);
                    if let Err(error) = compiled.and_then(|()| fs::write(&mark, sum).map_err(at(&mark)))
                        && let Ok(mut failure) = failure.lock()
                    {
                        *failure = Some(error);
                    }
                }
            });
        }
    });
    match failure.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => Ok(()),
    }
}

fn compile_one(path: &Path, options: &[&str]) -> Result<(), BuildError> {
    let mut command = Command::new("g++");
    command.args(options).arg("-c").arg(path).arg("-o").arg(path.with_extension("o"));
    run(&mut command)
}

/// The units that become objects. What else lies in a folder, of an earlier version perhaps, is not linked.
fn sources<'a>(units: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = &'a str> {
    units.iter().map(|(name, _)| *name).filter(|name| Path::new(name).extension().is_some_and(|end| end == "cpp"))
}

fn link(objects: &[PathBuf], out: &Path, options: &[&str]) -> Result<(), BuildError> {
    run(Command::new("g++").args(options).args(objects).arg("-o").arg(out).arg("-lcurl"))
}

fn run(command: &mut Command) -> Result<(), BuildError> {
    let Ok(Output { status, stderr, .. }) = command.output() else {
        return Err(BuildError::Missing { what: "g++", package: "g++" });
    };
    let said = String::from_utf8_lossy(&stderr).into_owned();
    if status.success() {
        // Warnings about the Expert Advisor's own lines are worth reading.
        use std::io::Write as _;
        let _ = write!(std::io::stderr(), "{said}");
        return Ok(());
    }
    let missing = [
        ("curl/curl.h: No such file", "libcurl", "libcurl4-openssl-dev"),
        ("cannot find -lcurl", "libcurl", "libcurl4-openssl-dev"),
        ("nlohmann/json.hpp: No such file", "nlohmann/json", "nlohmann-json3-dev"),
    ];
    match missing.into_iter().find(|(words, ..)| said.contains(words)) {
        Some((_, what, package)) => Err(BuildError::Missing { what, package }),
        None => Err(BuildError::Compiler(said)),
    }
}
