//! Names that the MQL5 reference documents, and those of a program that it does not.
//!
//! The native runtime can't show that MetaEditor knows a name; a list made from the reference can.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::finding::Finding;
use crate::outline::Outline;
use crate::source::Source;
use crate::token::{Kind, Token};

/// The list, carried in this program.
const LIST: &str = include_str!("../documented.txt");

/// What a documented name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// A word of the language.
    Keyword,
    /// A predefined variable.
    Variable,
    /// A handler that the terminal calls.
    Event,
    /// A function.
    Function,
    /// A structure or an enumeration.
    Type,
    /// A member of a structure.
    Member,
    /// A constant.
    Constant,
}

/// All documented names; one may mean several things.
pub fn names() -> HashMap<&'static str, Vec<Meaning>> {
    let mut names: HashMap<&'static str, Vec<Meaning>> = HashMap::new();
    for line in LIST.lines() {
        let mut words = line.split_whitespace();
        let meaning = match words.next() {
            Some("keyword") => Meaning::Keyword,
            Some("variable") => Meaning::Variable,
            Some("event") => Meaning::Event,
            Some("function") => Meaning::Function,
            Some("type") => Meaning::Type,
            Some("member") => Meaning::Member,
            Some("constant") => Meaning::Constant,
            // A comment or an empty line.
            _ => continue,
        };
        for word in words {
            names.entry(word).or_default().push(meaning);
        }
    }
    names
}

/// Uses of names that neither the program defines nor the reference documents, or not as what they are used for.
pub fn findings(source: &Source, outline: &Outline) -> Vec<Finding> {
    let names = names();
    let mut findings = Vec::new();
    let mut look = |code: &[&Token]| {
        for (at, token) in code.iter().enumerate() {
            if token.kind != Kind::Name || outline.names.contains(&token.text) {
                continue;
            }
            let before = at.checked_sub(1).map(|at| code[at]);
            let known = names.get(token.text.as_str()).map_or(&[][..], Vec::as_slice);
            if let Some(what) = wrong(known, before, code.get(at + 1).copied()) {
                findings.push(source.finding(token, format!("{}: {what}", token.text)));
            }
        }
    };
    let code: Vec<&Token> = outline.code.iter().map(|index| &source.tokens[*index]).collect();
    look(&code);
    for definition in &source.macros {
        look(&definition.body.iter().filter(|token| token.is_code()).collect::<Vec<_>>());
    }
    findings
}

/// What is wrong with a name of these meanings between these neighbours.
fn wrong(known: &[Meaning], before: Option<&Token>, after: Option<&Token>) -> Option<&'static str> {
    let is = |token: Option<&Token>, mark: &str| token.is_some_and(|token| token.is(mark));
    if known.is_empty() {
        return Some("neither defined here nor documented");
    }
    if is(before, ".") {
        return (!known.contains(&Meaning::Member)).then_some("no documented member");
    }
    if known == [Meaning::Member] {
        return Some("a member of a structure, and used without one");
    }
    let is_called = is(after, "(");
    if is_called && !known.iter().any(|one| matches!(one, Meaning::Function | Meaning::Keyword | Meaning::Type)) {
        return Some("no documented function");
    }
    if !is_called && known == [Meaning::Function] {
        return Some("a function, and used without a call");
    }
    None
}
