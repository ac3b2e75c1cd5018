//! Builds the fixtures and runs them; a web server of a few lines for their requests.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ea_native::Build;

/// Longest run of a fixture, in seconds.
const RUN_SECONDS_MAX: u32 = 60;

/// The folder of the fixtures.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The program of a fixture, built where it is not up to date.
pub fn program(name: &str, sanitize: bool) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let out = folder.join(if sanitize { format!("{name}-sanitized") } else { name.to_owned() });
    let source = fixtures().join(format!("{name}.mq5"));
    let build = Build { source, include: fixtures(), out: out.clone(), sanitize };
    if let Err(error) = ea_native::build(&build) {
        panic!("{error}");
    }
    out
}

/// A folder of its own for one run of a program.
pub struct Sandbox(PathBuf);

impl Sandbox {
    pub fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("sandbox-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A command that runs a program here, ended after a minute.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", &RUN_SECONDS_MAX.to_string()]).arg(program).arg("--files").arg(&self.0);
        command
    }

    /// With inputs, as MetaTrader writes them.
    pub fn run(&self, program: &Path, inputs: &str, arguments: &[&str]) -> Run {
        let set = self.0.join("inputs.set");
        std::fs::write(&set, inputs).unwrap();
        Run(self.command(program).arg("--inputs").arg(set).args(arguments).output().unwrap())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a program said and how it ended.
pub struct Run(Output);

impl Run {
    /// The texts of its log, without time and name.
    pub fn log(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.stdout.clone()).unwrap();
        text.lines().map(|line| line.split('\t').next_back().unwrap().to_owned()).collect()
    }

    /// Requires a line, and shows all of them where it is missing.
    pub fn must_say(&self, line: &str) {
        let log = self.log();
        assert!(log.iter().any(|said| said == line), "no line {line:?} in\n{}\n{}", log.join("\n"), self.errors());
    }

    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    pub fn code(&self) -> Option<i32> {
        self.0.status.code()
    }
}

/// Answers every request with its method, path and body; one to `/slow` never. Returns the address.
pub fn web_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn serve(stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    for connection_request in 1.. {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let first = head.lines().next()?.trim_end_matches(" HTTP/1.1").to_owned();
        if first.ends_with("/slow") {
            continue;
        }
        let test = head.lines().any(|line| line == "X-Test: 1");
        let answer = format!("{first} {} {test} {connection_request}", String::from_utf8_lossy(&body));
        let length = answer.len();
        write!(writer, "HTTP/1.1 200 OK\r\nX-Answer: yes\r\nContent-Length: {length}\r\n\r\n{answer}").ok()?;
    }
    None
}
