//! A program and everything it includes, as one row of tokens; conditions of the preprocessor are decided here.
//!
//! Macros are collected, not replaced: the C++ compiler does that.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::finding::Finding;
use crate::token::{Kind, Token, tokens};

/// Files that may include one another before that counts as endless.
const DEPTH_MAX: usize = 32;
/// What the `MetaEditor` defines by itself.
const PREDEFINED: [&str; 3] = ["__MQL__", "__MQL5__", "_RELEASE"];

/// One `#define`.
#[derive(Debug, Clone)]
pub struct Macro {
    /// Its name.
    pub name: String,
    /// `(a,b)` of a macro with parameters, else empty.
    pub parameters: String,
    /// What it stands for.
    pub body: Vec<Token>,
    /// The file it is from, an index into [`Source::files`].
    pub file: usize,
    /// Its line, from 1.
    pub line: usize,
}

/// A whole program.
#[derive(Debug, Default)]
pub struct Source {
    /// Every file, the program first.
    pub files: Vec<PathBuf>,
    /// The code of all of them in the order of inclusion, comments and blanks with it.
    pub tokens: Vec<Token>,
    /// All macros with a value or parameters.
    pub macros: Vec<Macro>,
    /// Every directive that was seen, also in branches that were not taken.
    pub directives: Vec<Token>,
    defined: BTreeSet<String>,
    findings: Vec<Finding>,
}

impl Source {
    /// Reads a program; `include` is where `<…>` is looked for.
    ///
    /// # Errors
    /// What can't be read or makes no sense to the preprocessor.
    pub fn read(program: &Path, include: &Path) -> Result<Self, Vec<Finding>> {
        let mut source = Self { defined: PREDEFINED.map(str::to_owned).into(), ..Self::default() };
        source.add(program, include, 0, None);
        if source.findings.is_empty() { Ok(source) } else { Err(source.findings) }
    }

    /// A source without directives that is at hand already.
    pub fn of_text(name: &str, text: &str) -> Self {
        let is_code = |token: &Token| token.kind != Kind::Directive;
        let tokens = tokens(text, 0).into_iter().filter(is_code).collect();
        Self { files: vec![PathBuf::from(name)], tokens, ..Self::default() }
    }

    /// A complaint about a token.
    pub fn finding(&self, token: &Token, message: impl Into<String>) -> Finding {
        Finding { file: self.files[token.file].clone(), line: token.line, message: message.into() }
    }

    fn add(&mut self, path: &Path, include: &Path, depth: usize, from: Option<&Token>) {
        let text = match std::fs::read(path).map_err(|error| error.to_string()).and_then(|bytes| decode(&bytes)) {
            Ok(text) => text,
            Err(error) => {
                let complaint = format!("{} can't be read: {error}", path.display());
                self.findings.push(match from {
                    Some(token) => self.finding(token, complaint),
                    None => Finding { file: path.to_owned(), line: 1, message: complaint },
                });
                return;
            }
        };
        self.files.push(path.to_owned());
        let file = self.files.len() - 1;
        // Whether each open condition holds.
        let mut conditions: Vec<bool> = Vec::new();
        for token in tokens(&text, file) {
            if token.kind == Kind::Directive {
                self.directive(&token, path, include, depth, &mut conditions);
            } else if conditions.iter().all(|holds| *holds) {
                self.tokens.push(token);
            }
        }
    }

    fn directive(&mut self, token: &Token, path: &Path, include: &Path, depth: usize, conditions: &mut Vec<bool>) {
        self.directives.push(token.clone());
        let (word, rest) = directive_parts(&token.text);
        let taken = conditions.iter().all(|holds| *holds);
        match word {
            "ifdef" => conditions.push(self.defined.contains(rest)),
            "ifndef" => conditions.push(!self.defined.contains(rest)),
            "else" => {
                if let Some(holds) = conditions.last_mut() {
                    *holds = !*holds;
                }
            }
            "endif" => drop(conditions.pop()),
            "include" if taken => self.include(token, rest, path, include, depth),
            "define" if taken => self.define(token, rest),
            "undef" if taken => {
                let complaint = format!("#undef {rest}: a macro keeps its meaning here");
                self.findings.push(self.finding(token, complaint));
            }
            "import" | "resource" if taken => {
                self.findings.push(self.finding(token, format!("#{word} can't be run natively")));
            }
            // Properties describe the program to MetaEditor; what is unknown is for the lint.
            _ => {}
        }
    }

    fn include(&mut self, token: &Token, name: &str, path: &Path, include: &Path, depth: usize) {
        let inner = name.trim_matches(['<', '>', '"']).replace('\\', "/");
        let beside = path.parent().unwrap_or(Path::new("")).join(&inner);
        let wanted = if name.starts_with('<') { include.join(&inner) } else { beside };
        if depth == DEPTH_MAX {
            self.findings.push(self.finding(token, format!("{name} is included without end")));
        } else {
            self.add(&wanted, include, depth + 1, Some(token));
        }
    }

    fn define(&mut self, token: &Token, rest: &str) {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let close = if after.starts_with('(') { after.find(')').map_or(0, |at| at + 1) } else { 0 };
        let (parameters, body) = after.split_at(close);
        if !self.defined.insert(name.to_owned()) {
            self.findings.push(self.finding(token, format!("{name} is defined twice")));
        }
        let mut body = tokens(&body.replace("\\\r\n", " ").replace("\\\n", " "), token.file);
        for part in &mut body {
            part.line = token.line;
        }
        if !parameters.is_empty() || body.iter().any(Token::is_code) {
            let (name, parameters) = (name.to_owned(), parameters.to_owned());
            self.macros.push(Macro { name, parameters, body, file: token.file, line: token.line });
        }
    }
}

/// `define` and `A 1` of `#define A 1`.
pub(crate) fn directive_parts(text: &str) -> (&str, &str) {
    let inner = text.trim_start_matches('#').trim();
    let end = inner.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(inner.len());
    (&inner[..end], inner[end..].trim())
}

/// The `MetaEditor` writes UTF-8 or UTF-16 with a mark of the byte order.
fn decode(bytes: &[u8]) -> Result<String, String> {
    if let Some(rest) = bytes.strip_prefix(&[0xFF, 0xFE]) {
        let units: Vec<u16> = rest.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        return String::from_utf16(&units).map_err(|_| "it is no UTF-16".to_owned());
    }
    let rest = bytes.strip_prefix(&[0xEF, 0xBB, 0xBF]).unwrap_or(bytes);
    String::from_utf8(rest.to_vec()).map_err(|_| "it is neither UTF-8 nor UTF-16".to_owned())
}
