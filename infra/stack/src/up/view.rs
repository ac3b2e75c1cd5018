//! What a person sees of a run: a line per fact, with colours on a terminal only.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use rust_decimal::Decimal;

use crate::servers::observers::Observers;

/// Writes to standard output.
#[derive(Clone, Copy)]
pub(super) struct View {
    colours: bool,
}

/// Amounts with two decimals and a sign.
pub(super) fn signed(cents: i128) -> String {
    let sign = if cents < 0 { '-' } else { '+' };
    format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100)
}

impl View {
    pub(super) fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colours: wanted && std::io::stdout().is_terminal() }
    }

    /// A plain line. A reader that went away is no reason to stop trading.
    #[expect(clippy::unused_self, reason = "all lines go through the view")]
    pub(super) fn line(self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{text}");
        let _ = out.flush();
    }

    fn tagged(self, tag: &str, colour: AnsiColor, text: &str) {
        let style = if self.colours { Style::new().fg_color(Some(colour.into())).bold() } else { Style::new() };
        self.line(&format!("{style}{tag:<8}{style:#} {text}"));
    }

    pub(super) fn ready(self, url: &str, metrics: &str, keys: &Path) {
        self.tagged("ready", AnsiColor::Green, &format!("{url}   metrics {metrics}   keys {}", keys.display()));
    }

    pub(super) fn observed(self, observers: &Observers) {
        let Observers { prometheus, alertmanager, .. } = observers;
        self.tagged("observed", AnsiColor::Green, &format!("Prometheus {prometheus}   Alertmanager {alertmanager}"));
    }

    pub(super) fn step(self, text: &str) {
        self.tagged("step", AnsiColor::Cyan, text);
    }

    pub(super) fn signal(self, text: &str) {
        self.tagged("signal", AnsiColor::Blue, text);
    }

    pub(super) fn terminal(self, text: &str) {
        self.tagged("terminal", AnsiColor::Magenta, text);
    }

    pub(super) fn trouble(self, text: &str) {
        self.tagged("trouble", AnsiColor::Red, text);
    }

    /// Each member's money and what became of it.
    pub(super) fn members(self, equity: Decimal, members: &[(String, i128, i128)]) {
        let parts: Vec<String> = members
            .iter()
            .map(|(name, value, profit)| {
                let style = match (self.colours, *profit) {
                    (true, profit) if profit < 0 => Style::new().fg_color(Some(AnsiColor::Red.into())),
                    (true, _) => Style::new().fg_color(Some(AnsiColor::Green.into())),
                    _ => Style::new(),
                };
                format!("{name} {}.{:02} {style}{}{style:#}", value / 100, value % 100, signed(*profit))
            })
            .collect();
        self.tagged("members", AnsiColor::Yellow, &format!("account {equity:.2}   {}", parts.join("   ")));
    }

    pub(super) fn verified(self, text: &str) {
        self.tagged("verified", AnsiColor::Green, text);
    }
}
