//! The rule about formats: as many parameters as specifications, each of a kind that MQL5 knows.

use super::Lint;
use crate::token::{Kind, Token};

impl Lint<'_> {
    /// As many parameters as specifications; which types they have is found when the program runs.
    pub(super) fn formats(&mut self, at: usize) {
        let token = self.code[at];
        if !(token.is("StringFormat") || token.is("PrintFormat")) || !self.is(at + 1, "(") {
            return;
        }
        let close = self.closing(at + 1);
        let texts: Vec<&Token> =
            (at + 2..close).map_while(|at| self.get(at).filter(|token| token.kind == Kind::Text)).collect();
        let after = at + 2 + texts.len();
        if texts.is_empty() || !(self.is(after, ",") || self.is(after, ")")) {
            return;
        }
        let pattern: String = texts.iter().map(|token| token.text.trim_matches('"')).collect();
        let given = self.commas(after, close);
        match specifications(&pattern) {
            Err(unknown) => self.complain(token, format!("MQL5 does not know the specification {unknown}")),
            Ok(wanted) if wanted != given => {
                self.complain(token, format!("the format wants {wanted} parameters and is given {given}"));
            }
            Ok(_) => {}
        }
    }

    /// Commas outside of brackets.
    pub(super) fn commas(&self, begin: usize, end: usize) -> usize {
        let mut depth = 0i32;
        let mut count = 0;
        for at in begin..end {
            match self.code[at].text.as_str() {
                "(" | "[" | "{" if self.code[at].kind == Kind::Mark => depth += 1,
                ")" | "]" | "}" if self.code[at].kind == Kind::Mark => depth -= 1,
                "," if depth == 0 && self.code[at].kind == Kind::Mark => count += 1,
                _ => {}
            }
        }
        count
    }
}

/// How many specifications a format has, or the first one that MQL5 does not know.
fn specifications(pattern: &str) -> Result<usize, String> {
    let mut count = 0;
    let mut rest = pattern;
    while let Some(begin) = rest.find('%') {
        rest = &rest[begin + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            rest = after;
            continue;
        }
        let trimmed = rest
            .trim_start_matches(['-', '+', ' ', '0', '#'])
            .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let bare = ["I64", "I32", "ll", "l", "h"].iter().find_map(|size| trimmed.strip_prefix(size)).unwrap_or(trimmed);
        match bare.chars().next() {
            Some(kind) if "diuoxXcseEfgGaA".contains(kind) => rest = &bare[1..],
            other => return Err(format!("%{}", other.map_or_else(String::new, String::from))),
        }
        count += 1;
    }
    Ok(count)
}
