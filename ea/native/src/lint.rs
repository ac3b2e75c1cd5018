//! What g++ takes and MetaEditor refuses, or reads otherwise.
//!
//! It can't prove that MetaEditor accepts a source. Each rule looks at a few tokens; none knows types.

mod call;
mod format;
mod shape;
#[cfg(test)]
mod tests;

use crate::finding::Finding;
use crate::outline::Outline;
use crate::source::{Source, directive_parts};
use crate::token::{Kind, Token};

/// Words of C++ alone: MQL5 does not know them, or would take them as names.
const FOREIGN_WORDS: [(&str, &str); 46] = [
    ("std", "MQL5 has no std"),
    ("auto", "MQL5 has no auto: write the type"),
    ("nullptr", "MQL5 has no nullptr: use NULL"),
    ("unsigned", "MQL5 has uchar, ushort, uint and ulong"),
    ("signed", "MQL5 has char, short, int and long"),
    ("size_t", "MQL5 has no size_t: use int or ulong"),
    ("wchar_t", "MQL5 has no wchar_t: use ushort"),
    ("char8_t", "MQL5 has no char8_t"),
    ("char16_t", "MQL5 has no char16_t: use ushort"),
    ("char32_t", "MQL5 has no char32_t"),
    ("constexpr", "MQL5 has no constexpr: use const or #define"),
    ("consteval", "MQL5 has no consteval"),
    ("constinit", "MQL5 has no constinit"),
    ("noexcept", "MQL5 has no noexcept"),
    ("mutable", "MQL5 has no mutable"),
    ("friend", "MQL5 has no friend"),
    ("explicit", "MQL5 has no explicit"),
    ("inline", "MQL5 has no inline"),
    ("static_assert", "MQL5 has no static_assert"),
    ("decltype", "MQL5 has no decltype"),
    ("typeid", "MQL5 has no typeid"),
    ("alignas", "MQL5 has no alignas"),
    ("alignof", "MQL5 has no alignof"),
    ("thread_local", "MQL5 has no thread_local"),
    ("volatile", "MQL5 has no volatile"),
    ("register", "MQL5 has no register"),
    ("asm", "MQL5 has no asm"),
    ("concept", "MQL5 has no concepts"),
    ("requires", "MQL5 has no concepts"),
    ("co_await", "MQL5 has no coroutines"),
    ("co_return", "MQL5 has no coroutines"),
    ("co_yield", "MQL5 has no coroutines"),
    ("try", "MQL5 has no exceptions"),
    ("catch", "MQL5 has no exceptions"),
    ("throw", "MQL5 has no exceptions"),
    ("goto", "MQL5 has no goto"),
    ("using", "MQL5 has no using"),
    ("static_cast", "MQL5 has no static_cast: write (type)value"),
    ("reinterpret_cast", "MQL5 has no reinterpret_cast"),
    ("const_cast", "MQL5 has no const_cast"),
    // To C++ these are operators, to MQL5 names.
    ("and", "C++ reads `and` as &&"),
    ("or", "C++ reads `or` as ||"),
    ("not", "C++ reads `not` as !"),
    ("xor", "C++ reads `xor` as ^"),
    ("bitand", "C++ reads `bitand` as &"),
    ("bitor", "C++ reads `bitor` as |"),
];
/// Types without members.
const SIMPLE_TYPES: [&str; 15] = [
    "char", "uchar", "short", "ushort", "int", "uint", "long", "ulong", "float", "double", "bool", "string",
    "datetime", "color", "void",
];
const DIRECTIVES: [&str; 8] = ["property", "include", "define", "undef", "ifdef", "ifndef", "else", "endif"];

/// All complaints about a program.
pub fn findings(source: &Source, outline: &Outline) -> Vec<Finding> {
    let code: Vec<&Token> = outline.code.iter().map(|index| &source.tokens[*index]).collect();
    let mut lint = Lint { source, outline, code, findings: Vec::new() };
    lint.directives();
    for at in 0..lint.code.len() {
        lint.words(at);
        lint.literals(at);
        lint.pointers(at);
        lint.statements(at);
        lint.declarations(at);
        lint.formats(at);
        lint.references(at);
    }
    for definition in &source.macros {
        lint.code = definition.body.iter().filter(|token| token.is_code()).collect();
        for at in 0..lint.code.len() {
            lint.words(at);
            lint.literals(at);
        }
    }
    lint.functions();
    lint.findings
}

struct Lint<'source> {
    source: &'source Source,
    outline: &'source Outline,
    code: Vec<&'source Token>,
    findings: Vec<Finding>,
}

impl<'source> Lint<'source> {
    fn complain(&mut self, token: &Token, message: impl Into<String>) {
        self.findings.push(self.source.finding(token, message));
    }

    fn get(&self, at: usize) -> Option<&'source Token> {
        self.code.get(at).copied()
    }

    fn is(&self, at: usize, text: &str) -> bool {
        self.get(at).is_some_and(|token| token.is(text))
    }

    /// Whether the tokens from here on are these; `_` stands for any name.
    fn are(&self, at: usize, texts: &[&str]) -> bool {
        texts.iter().enumerate().all(
            |(index, text)| {
                if *text == "_" { self.is_name(at + index) } else { self.is(at + index, text) }
            },
        )
    }

    fn is_name(&self, at: usize) -> bool {
        self.get(at).is_some_and(|token| token.kind == Kind::Name)
    }

    fn is_own_type(&self, name: &str) -> bool {
        self.outline.types.iter().any(|(_, known)| known == name)
    }

    fn is_simple_type(&self, at: usize) -> bool {
        self.get(at).is_some_and(|token| SIMPLE_TYPES.contains(&token.text.as_str()))
    }

    fn begins_statement(&self, at: usize) -> bool {
        at == 0 || ["{", "}", ";", ")", ":", "else", "const", "static"].iter().any(|mark| self.is(at - 1, mark))
    }

    fn directives(&mut self) {
        for token in &self.source.directives {
            let (word, _) = directive_parts(&token.text);
            if !DIRECTIVES.contains(&word) {
                self.complain(token, format!("MQL5 has no #{word}"));
            }
            if word == "define" && token.text.contains("##") {
                self.complain(token, "what ## makes of names can't be checked here");
            }
        }
    }

    fn words(&mut self, at: usize) {
        let token = self.code[at];
        if token.kind != Kind::Name {
            return;
        }
        if let Some((_, why)) = FOREIGN_WORDS.iter().find(|(word, _)| token.text == *word) {
            self.complain(token, *why);
        }
        if self.is(at + 1, "::") && !self.is_own_type(&token.text) {
            self.complain(token, format!("{}:: is no class of this program", token.text));
        }
        if token.text.contains("__") && !token.text.starts_with("__") {
            self.complain(token, format!("{}: names with two underscores are the compiler's", token.text));
        }
        let is_fixed_width = ["int", "uint"].iter().any(|start| {
            let rest = token.text.strip_prefix(start).and_then(|rest| rest.strip_suffix("_t"));
            rest.is_some_and(|bits| bits.parse::<u8>().is_ok())
        });
        if is_fixed_width {
            self.complain(token, format!("MQL5 has no {}", token.text));
        }
    }

    fn literals(&mut self, at: usize) {
        let token = self.code[at];
        match token.kind {
            Kind::Number => self.number(token),
            Kind::Text if !token.text.ends_with('"') || token.text.len() < 2 => {
                self.complain(token, "the text is not closed");
            }
            Kind::Character if !token.text.ends_with('\'') || token.text.len() < 3 => {
                self.complain(token, "the character is not closed, or empty");
            }
            Kind::Character if token.text.trim_matches('\'').chars().count() > 1 && !token.text.contains('\\') => {
                self.complain(token, "a character is one alone");
            }
            Kind::Text if at > 0 && is_prefix(&self.code[at - 1].text) => {
                self.complain(token, "MQL5 has no prefixes of texts");
            }
            _ => {}
        }
    }

    /// Suffixes but `f`, digits apart by quotes, binary and octal numbers.
    fn number(&mut self, token: &Token) {
        let text = token.text.to_ascii_lowercase();
        let hexadecimal = text.starts_with("0x");
        let digits = if hexadecimal { &text[2..] } else { text.as_str() };
        if digits.ends_with(['u', 'l']) {
            self.complain(token, format!("{}: MQL5 has no suffixes of integers; write a cast", token.text));
        }
        if text.starts_with("0b") {
            self.complain(token, format!("{}: write it in hexadecimal", token.text));
        }
        if text.len() > 1 && text.starts_with('0') && text.chars().all(|c| c.is_ascii_digit()) {
            self.complain(token, format!("{}: C++ reads this as octal, MQL5 as decimal", token.text));
        }
    }

    /// The bracket that closes the one here.
    fn closing(&self, open: usize) -> usize {
        let mut depth = 0usize;
        for at in open..self.code.len() {
            if self.is(at, "(") {
                depth += 1;
            } else if self.is(at, ")") {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
        }
        self.code.len()
    }
}

fn is_prefix(word: &str) -> bool {
    matches!(word, "L" | "u" | "u8" | "U" | "R" | "LR")
}
