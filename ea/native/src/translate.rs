//! MQL5 as C++20: the same text with about a dozen changes, every line where it was.
//!
//! What C++ wants in advance stands in front of the program: macros, enumerations, announcements of types and of all
//! functions, which MQL5 lets be used before they are defined. Variables and types have to be defined before their
//! use, in MQL5 and so here.

mod output;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use crate::finding::Finding;
use crate::outline::{Declarator, Function, Outline, Scope, Variables};
use crate::source::Source;
use crate::token::{Kind, Token};
pub(crate) use output::enum_to_string;

/// The whole program as one C++ source.
///
/// # Errors
/// What this translator does not take.
pub fn translate(source: &Source, outline: &Outline, name: &str) -> Result<String, Vec<Finding>> {
    let mut translation = Translation { source, outline, changed: BTreeMap::new(), findings: Vec::new() };
    translation.literals();
    translation.input_groups();
    for variables in &outline.variables {
        translation.variables(variables);
    }
    for enumeration in &outline.enumerations {
        translation.delete(enumeration.range.clone());
    }
    for function in &outline.functions {
        translation.function(function);
    }
    translation.this();
    translation.whole_scope();
    if !translation.findings.is_empty() {
        translation.findings.sort();
        return Err(translation.findings);
    }
    Ok(format!(
        "#include \"mql5.hpp\"\nnamespace expert {{\nusing namespace mql;\n{}{}\n#line 1 \"{name}.cpp\"\n}}\n{}",
        translation.preamble(),
        translation.body(),
        translation.program(name)
    ))
}

struct Translation<'source> {
    source: &'source Source,
    outline: &'source Outline,
    /// New texts of tokens, by their index.
    changed: BTreeMap<usize, String>,
    findings: Vec<Finding>,
}

impl Translation<'_> {
    fn token(&self, at: usize) -> &Token {
        self.outline.token(self.source, at)
    }

    fn text(&self, at: usize) -> &str {
        &self.token(at).text
    }

    fn change(&mut self, at: usize, text: impl Into<String>) {
        self.changed.insert(self.outline.code[at], text.into());
    }

    fn delete(&mut self, range: Range<usize>) {
        for at in range {
            self.change(at, "");
        }
    }

    fn complain(&mut self, at: usize, message: impl Into<String>) {
        let finding = self.source.finding(self.token(at), message);
        self.findings.push(finding);
    }

    /// The text of a range as it stands now, on one line.
    fn now(&self, range: Range<usize>) -> String {
        let texts: Vec<&str> = range.map(|at| self.now_at(self.outline.code[at])).collect();
        texts.join(" ")
    }

    fn now_at(&self, index: usize) -> &str {
        self.changed.get(&index).map_or(self.source.tokens[index].text.as_str(), String::as_str)
    }

    /// Texts become strings: in C++ `"n="+5` would point somewhere. Neighbours are one text.
    fn literals(&mut self) {
        for at in 0..self.outline.code.len() {
            let token = self.token(at);
            let text = match token.kind {
                Kind::Text => {
                    let open = if at > 0 && self.is_text(at - 1) { "" } else { "::mql::literal(" };
                    let close = if self.is_text(at + 1) { "" } else { ")" };
                    format!("{open}{}{close}", escapes(&token.text))
                }
                Kind::Name if token.text == "__FUNCTION__" || token.text == "__FUNCSIG__" => {
                    format!("::mql::literal(\"{}\")", self.function_around(at))
                }
                _ => match literal(token) {
                    Some(text) => text,
                    None => continue,
                },
            };
            self.change(at, text);
        }
    }

    fn is_text(&self, at: usize) -> bool {
        self.outline.code.get(at).is_some_and(|index| self.source.tokens[*index].kind == Kind::Text)
    }

    /// `Class::Method`, as `__FUNCTION__` shows it.
    fn function_around(&self, at: usize) -> String {
        let around = |function: &&Function| function.body.as_ref().is_some_and(|body| body.contains(&at));
        self.outline.functions.iter().find(around).map_or_else(String::new, |function| {
            let name = self.text(function.name);
            function.owner.as_ref().map_or_else(|| name.to_owned(), |owner| format!("{owner}::{name}"))
        })
    }

    fn input_groups(&mut self) {
        for group in &self.outline.input_groups {
            self.delete(group.clone());
        }
    }

    fn variables(&mut self, variables: &Variables) {
        if variables.declarators.iter().any(|declarator| declarator.dimensions.len() > 1) {
            self.complain(variables.range.start, "an array of more than one dimension can't be run natively");
        } else if variables.is_input {
            self.input(variables);
        } else if variables.declarators.iter().any(|declarator| !declarator.dimensions.is_empty()) {
            self.arrays(variables);
        }
    }

    /// `input int A=1;` takes its value from the file of inputs; it can't be written to.
    fn input(&mut self, variables: &Variables) {
        let [Declarator { name, dimensions, initialiser: Some(initialiser) }] = variables.declarators.as_slice() else {
            return self.complain(variables.range.start, "an input is one variable with a value");
        };
        if !dimensions.is_empty() {
            return self.complain(variables.range.start, "an input is no array");
        }
        self.delete(variables.range.start..variables.type_name);
        self.change(variables.type_name, format!("const {}", self.text(variables.type_name)));
        let opened =
            format!("= ::runtime::input<{}>(\"{}\", ", self.source_text(variables.type_name), self.text(*name));
        self.change(initialiser.start, opened);
        let last = initialiser.end - 1;
        let closed = format!("{})", self.now_at(self.outline.code[last]));
        self.change(last, closed);
    }

    fn source_text(&self, at: usize) -> String {
        self.text(at).to_owned()
    }

    /// `int a[],b[3],c;` is three declarations in C++.
    fn arrays(&mut self, variables: &Variables) {
        let element = self.source_text(variables.type_name);
        let kind = if variables.scope == Scope::Member { "member_array" } else { "array" };
        let array = format!("::mql::{kind}<{element}>");
        let specifiers = self.now(variables.range.start..variables.type_name);
        for (index, declarator) in variables.declarators.iter().enumerate() {
            let is_array = !declarator.dimensions.is_empty();
            let shown = if is_array { &array } else { &element };
            if index == 0 {
                self.change(variables.type_name, shown);
            } else {
                self.change(declarator.name - 1, format!("; {specifiers} {shown} "));
            }
            if is_array {
                // What lives as long as the program begins as zero.
                let is_zero = variables.scope == Scope::File || specifiers.contains("static");
                self.array(&array, declarator, if is_zero { ", {}" } else { "" });
            }
        }
    }

    fn array(&mut self, array: &str, declarator: &Declarator, initial: &str) {
        for dimension in &declarator.dimensions {
            let size = self.now(dimension.start + 1..dimension.end - 1);
            self.delete(dimension.clone());
            if size.is_empty() {
                continue;
            }
            let made = match &declarator.initialiser {
                None => format!(" = {array}::fixed({size}{initial})"),
                Some(initialiser) => {
                    let values = self.now(initialiser.start + 1..initialiser.end);
                    self.delete(initialiser.clone());
                    format!(" = {array}::fixed({size}, {values})")
                }
            };
            self.change(dimension.start, made);
        }
    }

    /// Arrays are passed by reference; the default values of a function stand in its announcement.
    fn function(&mut self, function: &Function) {
        for parameter in &function.parameters {
            if let Some((type_name, brackets)) = &parameter.array {
                self.change(*type_name, format!("::mql::array<{}>", self.source_text(*type_name)));
                self.delete(brackets.clone());
            }
        }
    }

    /// `this` is no pointer in MQL5.
    fn this(&mut self) {
        for at in 0..self.outline.code.len().saturating_sub(1) {
            if self.token(at).is("this") && self.token(at + 1).is(".") {
                self.change(at + 1, "->");
            }
        }
    }

    /// `::Send()` is the program's own, or MQL5's.
    fn whole_scope(&mut self) {
        for at in 0..self.outline.code.len().saturating_sub(1) {
            if self.token(at).is("::") && (at == 0 || self.token(at - 1).kind != Kind::Name) {
                let is_own = self.outline.names.contains(self.text(at + 1));
                self.change(at, if is_own { "::expert::" } else { "::mql::" });
            }
        }
    }

    /// Functions of the file whose use may come before their definition.
    fn announced(&self) -> impl Iterator<Item = &Function> {
        self.outline.functions.iter().filter(|function| {
            function.scope == Scope::File
                && function.owner.is_none()
                && !function.is_template
                && function.body.is_some()
        })
    }
}

/// The C++ of a literal that is no text; none: as it is.
fn literal(token: &Token) -> Option<String> {
    match token.kind {
        Kind::Character => Some(format!("::mql::character(u{})", escapes(&token.text))),
        Kind::Date => {
            Some(format!("::mql::date_literal(\"{}\")", token.text.trim_start_matches('D').trim_matches('\'')))
        }
        Kind::Color => {
            let parts = token.text.trim_start_matches('C').trim_matches('\'').split(',');
            let [red, green, blue] = parts.map(|part| part.trim().to_owned()).collect::<Vec<_>>().try_into().ok()?;
            Some(format!("::mql::color({red} | {green} << 8 | {blue} << 16)"))
        }
        _ => None,
    }
}

/// `\x` takes four digits at most in MQL5, and any number of them in C++.
fn escapes(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        if rest.next_if(|next| matches!(next, 'x' | 'X')).is_none() {
            out.push(c);
            out.extend(rest.next());
            continue;
        }
        let mut value = 0;
        for _ in 0..4 {
            let Some(digit) = rest.peek().and_then(|next| next.to_digit(16)) else { break };
            value = value * 16 + digit;
            rest.next();
        }
        let _ = write!(out, "\\u{value:04x}");
    }
    out
}
