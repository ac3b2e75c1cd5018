//! Settings of the container, from the environment or from `*_FILE` secrets. All errors are told at once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use common::config::{ConfigError, address, http_addr, optional, required, seconds};
use hyper::Uri;
use rustls::RootCertStore;

use crate::connections;
use crate::startup::{Chart, Login};

/// Where MetaQuotes offers the installer, which must not be redistributed.
const INSTALLER: &str = "https://download.mql5.com/cdn/web/metaquotes.software.corp/mt5/mt5setup.exe";
/// How long the EA lets a poll be held.
const WAIT_INPUT: &str = "InpWaitMs";
/// A VNC password is a DES key: what comes after the eighth character would be ignored in silence.
const VNC_PASSWORD_LENGTH_MAX: usize = 8;
const VNC_PASSWORD_LENGTH_MIN: usize = 6;

/// Where the screen can be seen.
pub(crate) struct Vnc {
    pub(crate) address: SocketAddr,
    pub(crate) password: String,
}

/// Where the terminal's installer comes from.
pub(crate) enum Installer {
    Download(Uri),
    File(PathBuf),
}

/// How long things may take.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// A terminal whose EA was silent for longer hangs.
    pub(crate) silence: Duration,
    /// A terminal whose EA once worked and is still silent so long after the start hangs.
    pub(crate) start: Duration,
    /// A terminal that was asked to close is ended after this.
    pub(crate) close: Duration,
}

/// What the bridge is told.
pub(crate) struct Settings {
    /// Health.
    pub(crate) http_addr: SocketAddr,
    /// Metrics, apart from the health.
    pub(crate) metrics_addr: SocketAddr,
    /// Where the EA talks to; loopback, since whoever talks to it has the terminal's key.
    pub(crate) relay_addr: SocketAddr,
    pub(crate) dispatcher: Uri,
    /// Who may sign the dispatcher's certificate, instead of the system's authorities.
    pub(crate) authorities: Option<RootCertStore>,
    pub(crate) key: String,
    pub(crate) vnc: Option<Vnc>,
    /// Size of the screen, such as `1280x800`.
    pub(crate) screen: String,
    /// The volume: the Wine prefix with the terminal in it.
    pub(crate) data: PathBuf,
    /// Short-lived files with secrets; best in memory.
    pub(crate) run: PathBuf,
    /// The EA's sources: a folder with `Experts`, `Include`, …
    pub(crate) ea: PathBuf,
    pub(crate) installer: Installer,
    /// The terminal's folder below `Program Files`.
    pub(crate) folder: String,
    pub(crate) chart: Chart,
    pub(crate) limits: Limits,
}

/// Takes values and collects the errors.
#[derive(Default)]
struct Errors(Vec<ConfigError>);

impl Errors {
    fn take<T>(&mut self, outcome: Result<T, ConfigError>) -> Option<T> {
        outcome.map_err(|error| self.0.push(error)).ok()
    }
}

fn bad(name: &'static str, what: impl Into<String>) -> ConfigError {
    ConfigError::Bad(name, what.into())
}

impl Settings {
    /// Reads everything; all that is missing or wrong.
    pub(crate) fn from_env() -> Result<Self, Vec<ConfigError>> {
        let mut errors = Errors::default();
        match Self::read(&mut errors) {
            Some(settings) if errors.0.is_empty() => Ok(settings),
            _ => Err(errors.0),
        }
    }

    /// `None` only after an error was noted.
    fn read(errors: &mut Errors) -> Option<Self> {
        let http_addr = errors.take(http_addr());
        let metrics_addr = errors.take(address("METRICS_ADDR", "127.0.0.1:9000"));
        let relay_addr = errors.take(address("RELAY_ADDR", "127.0.0.1:80").and_then(loopback));
        let dispatcher = errors.take(dispatcher());
        let authorities = errors.take(authorities());
        let key = errors.take(key());
        let vnc = errors.take(vnc());
        let screen = errors.take(text("SCREEN", "1280x800", screen));
        let data = errors.take(folder("DATA_DIR", "/var/lib/mt5-bridge"));
        let run = errors.take(folder("RUN_DIR", "/run/mt5-bridge"));
        let ea = errors.take(folder("EA_DIR", "/opt/mt5-bridge/ea"));
        let installer = errors.take(installer());
        let folder = errors.take(text("MT5_FOLDER", "MetaTrader 5", plain));
        let expert = errors.take(text("MT5_EXPERT", "CommunityTrader", name));
        let symbol = errors.take(text("MT5_SYMBOL", "EURUSD", plain));
        let period = errors.take(text("MT5_PERIOD", "M1", period));
        let inputs = errors.take(inputs());
        let login = errors.take(login());
        let silence = errors.take(limit("EA_SILENCE_SECONDS", 180));
        let start = errors.take(limit("EA_START_SECONDS", 300));
        let close = errors.take(limit("CLOSE_SECONDS", 10));
        if let (Some(ea), Some(expert)) = (&ea, &expert) {
            let source = ea.join("Experts").join(format!("{expert}.mq5"));
            if !source.is_file() {
                errors.0.push(bad("EA_DIR", format!("there is no {}", source.display())));
            }
        }
        let chart = Chart { expert: expert?, symbol: symbol?, period: period?, inputs: inputs?, login: login? };
        Some(Self {
            http_addr: http_addr?,
            metrics_addr: metrics_addr?,
            relay_addr: relay_addr?,
            dispatcher: dispatcher?,
            authorities: authorities?,
            key: key?,
            vnc: vnc?,
            screen: screen?,
            data: data?,
            run: run?,
            ea: ea?,
            installer: installer?,
            folder: folder?,
            chart,
            limits: Limits { silence: silence?, start: start?, close: close? },
        })
    }
}

fn loopback(address: SocketAddr) -> Result<SocketAddr, ConfigError> {
    let open = "the relay adds the terminal's key to every request, so it listens on a loopback address only";
    if address.ip().is_loopback() { Ok(address) } else { Err(bad("RELAY_ADDR", open)) }
}

/// `http://host:8000` or `https://host`, with or without a path before ours.
fn base(text: &str) -> Option<Uri> {
    let uri: Uri = text.trim_end_matches('/').parse().ok()?;
    let scheme = uri.scheme_str().is_some_and(|scheme| matches!(scheme, "http" | "https"));
    let host = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    (scheme && host && uri.query().is_none()).then_some(uri)
}

fn dispatcher() -> Result<Uri, ConfigError> {
    let url = required("DISPATCHER_URL", "the platform's address, such as https://signals.example.org")?;
    base(&url).ok_or_else(|| bad("DISPATCHER_URL", "it is not an address like https://signals.example.org"))
}

fn authorities() -> Result<Option<RootCertStore>, ConfigError> {
    let authorities = optional("DISPATCHER_CA")?.map(|pem| connections::authorities(&pem)).transpose();
    authorities.map_err(|error| bad("DISPATCHER_CA", format!("it holds no usable certificates (PEM): {error}")))
}

fn key() -> Result<String, ConfigError> {
    let key = required("TERMINAL_KEY", "the terminal's API key; TERMINAL_KEY_FILE names a file that holds it")?;
    let printable = key.chars().all(|character| character.is_ascii_graphic());
    if printable { Ok(key) } else { Err(bad("TERMINAL_KEY", "a key has printable characters only, and no space")) }
}

fn vnc() -> Result<Option<Vnc>, ConfigError> {
    let address = address("VNC_ADDR", "127.0.0.1:5900")?;
    let Some(password) = optional("VNC_PASSWORD")? else { return Ok(None) };
    let range = VNC_PASSWORD_LENGTH_MIN..=VNC_PASSWORD_LENGTH_MAX;
    let usable = password.chars().all(|character| character.is_ascii_graphic()) && range.contains(&password.len());
    let what = "VNC passwords have 6 to 8 printable characters (VNC ignores what comes after the eighth)";
    if usable { Ok(Some(Vnc { address, password })) } else { Err(bad("VNC_PASSWORD", what)) }
}

fn folder(name: &'static str, default: &str) -> Result<PathBuf, ConfigError> {
    let path = text(name, default, |text| text.starts_with('/') && !text.contains(char::is_whitespace));
    Ok(path.map_err(|_| bad(name, "it is not an absolute path without spaces"))?.into())
}

fn installer() -> Result<Installer, ConfigError> {
    if let Some(path) = optional("MT5_INSTALLER")? {
        let there = std::path::Path::new(&path).is_file();
        let missing = || bad("MT5_INSTALLER", format!("there is no file {path}"));
        return there.then(|| Installer::File(path.clone().into())).ok_or_else(missing);
    }
    let url = optional("MT5_INSTALLER_URL")?.unwrap_or_else(|| INSTALLER.to_owned());
    let uri = base(&url).map(Installer::Download);
    uri.ok_or_else(|| bad("MT5_INSTALLER_URL", "it is not an address like https://example.org/mt5setup.exe"))
}

/// The broker account: all three, or none and the login is done through VNC.
fn login() -> Result<Option<Login>, ConfigError> {
    let (login, password, server) = (optional("MT5_LOGIN")?, optional("MT5_PASSWORD")?, optional("MT5_SERVER")?);
    match (login, password, server) {
        (None, None, None) => Ok(None),
        (Some(login), Some(password), Some(server)) => {
            if login.is_empty() || !login.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(bad("MT5_LOGIN", "an account's login is a number"));
            }
            for (name, value) in [("MT5_PASSWORD", &password), ("MT5_SERVER", &server)] {
                if value.chars().any(char::is_control) {
                    return Err(bad(name, "it has a line break or another control character"));
                }
            }
            Ok(Some(Login { login, password, server }))
        }
        _ => Err(bad("MT5_LOGIN", "MT5_LOGIN, MT5_PASSWORD and MT5_SERVER are set together, or none of them")),
    }
}

/// The EA's inputs, `Name=Value;Name=Value`. The relay waits in its place, so that its own polls need not be held.
fn inputs() -> Result<Vec<(String, String)>, ConfigError> {
    let given = optional("EA_INPUTS")?.unwrap_or_default();
    let pairs = given.split([';', '\n']).map(str::trim).filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        // In a set file two bars begin the limits of an optimisation.
        let usable = name(key) && !value.contains("||") && !value.chars().any(char::is_control);
        usable.then(|| (key.to_owned(), value.to_owned()))
    };
    let parsed: Option<Vec<_>> = pairs.map(pair).collect();
    let mut inputs = parsed.ok_or_else(|| bad("EA_INPUTS", "it is not like Name=Value;Name=Value"))?;
    if inputs.iter().all(|(name, _)| name != WAIT_INPUT) {
        inputs.push((WAIT_INPUT.to_owned(), "0".to_owned()));
    }
    Ok(inputs)
}

fn limit(name: &'static str, default: i64) -> Result<Duration, ConfigError> {
    let limit = seconds(name, default)?.unsigned_abs();
    if limit.is_zero() { Err(bad(name, "0 seconds are none")) } else { Ok(limit) }
}

fn text(name: &'static str, default: &str, usable: impl Fn(&str) -> bool) -> Result<String, ConfigError> {
    let text = optional(name)?.unwrap_or_else(|| default.to_owned());
    if usable(&text) { Ok(text) } else { Err(bad(name, format!("{text:?} is not like {default}"))) }
}

/// A name as MQL5 has them.
fn name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|character| character.is_ascii_alphanumeric() || "_-".contains(character))
}

/// A symbol or a folder: printable, and nothing that separates.
fn plain(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|character| character.is_control() || "\\/\"".contains(character))
}

fn period(text: &str) -> bool {
    let periods = "M1 M2 M3 M4 M5 M6 M10 M12 M15 M20 M30 H1 H2 H3 H4 H6 H8 H12 Daily Weekly Monthly";
    periods.split(' ').any(|period| period == text)
}

fn screen(text: &str) -> bool {
    let size = |text: &str| text.parse().is_ok_and(|size: u16| (640..=4096).contains(&size));
    text.split_once('x').is_some_and(|(width, height)| size(width) && size(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: only an address that requests can be sent to is taken, and no password hides in it.
    #[test]
    fn a_base_address_has_a_scheme_and_a_host_and_no_password() {
        for usable in ["http://127.0.0.1:8000", "https://signals.example.org/", "https://example.org/below"] {
            assert!(base(usable).is_some(), "{usable}");
        }
        for unusable in ["", "signals.example.org", "ftp://example.org", "http://a:b@example.org", "http://h/?a=1"] {
            assert!(base(unusable).is_none(), "{unusable}");
        }
    }

    /// Goal: nobody but this container's programs can use the relay, which holds the key.
    #[test]
    fn the_relay_listens_on_loopback_only() {
        assert!(loopback("127.0.0.1:80".parse().unwrap()).is_ok());
        assert!(loopback("[::1]:80".parse().unwrap()).is_ok());
        assert!(loopback("0.0.0.0:80".parse().unwrap()).is_err());
    }

    /// Goal: names that MetaEditor or an .ini would misread are refused.
    #[test]
    fn names_symbols_periods_and_screens_are_checked() {
        assert!(name("CommunityTrader") && !name("Community Bridge") && !name(""));
        assert!(plain("XAUUSD.m#") && plain("MetaTrader 5") && !plain("a\nb") && !plain("..\\x"));
        assert!(period("M1") && period("Daily") && !period("M7") && !period(""));
        assert!(screen("1280x800") && !screen("1280") && !screen("10x10") && !screen("1280x800x24"));
    }
}
