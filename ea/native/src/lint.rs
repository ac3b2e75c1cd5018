//! What g++ takes and MetaEditor refuses, or reads otherwise.
//!
//! It can't prove that MetaEditor accepts a source. Each rule looks at a few tokens; none knows types.

#[cfg(test)]
mod tests;

use crate::finding::Finding;
use crate::outline::{Outline, Parameter};
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

    fn pointers(&mut self, at: usize) {
        let token = self.code[at];
        if token.is("->") {
            self.complain(token, "MQL5 reaches members with a dot");
        }
        if token.is("new") || token.is("delete") {
            self.complain(token, "objects made by new can't be run natively: declare them");
        }
        if self.is_simple_type(at)
            && self.is(at + 1, "*")
            && !self.is(at + 2, "=")
            && (self.is_name(at + 2) || self.is(at + 2, ")"))
        {
            self.complain(token, "MQL5 has no pointers to simple types");
        }
        if self.is_own_type(&token.text) && self.are(at + 1, &["*", "_"]) && self.begins_statement(at) {
            self.complain(token, "object pointers can't be run natively");
        }
        if token.is("&")
            && self.is_name(at + 1)
            && at > 0
            && ["(", ",", "=", "return"].iter().any(|mark| self.is(at - 1, mark))
        {
            self.complain(token, "MQL5 takes no addresses of variables here");
        }
        if (token.is("*") || token.is("&")) && self.is(at + 1, "this") {
            self.complain(token, "this is no pointer in MQL5");
        }
    }

    fn statements(&mut self, at: usize) {
        let token = self.code[at];
        if token.is("for") && self.is(at + 1, "(") {
            let close = self.closing(at + 1);
            let inside = at + 2..close;
            if inside.clone().any(|at| self.is(at, ":")) && !inside.clone().any(|at| self.is(at, ";")) {
                self.complain(token, "MQL5 has no for over a range");
            }
        }
        if (token.is("if") || token.is("switch"))
            && self.is(at + 1, "(")
            && self.is_simple_type(at + 2)
            && self.is_name(at + 3)
        {
            self.complain(token, "MQL5 declares nothing in a condition");
        }
        if self.are(at, &["if", "constexpr"]) {
            self.complain(token, "MQL5 has no if constexpr");
        }
        let opens_value = at == 0 || ["(", ",", "=", "return"].iter().any(|mark| self.is(at - 1, mark));
        if token.is("[") && opens_value {
            self.complain(token, "MQL5 has no lambdas");
        }
        if token.is("[") && self.is(at + 1, "[") {
            self.complain(token, "MQL5 has no attributes");
        }
        if token.is("(") && self.is(at + 1, "{") || token.is("return") && self.is(at + 1, "{") {
            self.complain(token, "MQL5 makes no values of lists");
        }
        if token.is("sizeof") && self.is(at + 1, "(") && self.is_array(at + 2) {
            self.complain(token, "sizeof of an array is not what it is in C++: use ArraySize");
        }
    }

    fn is_array(&self, at: usize) -> bool {
        let name = self.get(at).map(|token| token.text.as_str());
        self.outline.variables.iter().flat_map(|variables| &variables.declarators).any(|declarator| {
            !declarator.dimensions.is_empty()
                && Some(self.outline.token(self.source, declarator.name).text.as_str()) == name
        })
    }

    fn declarations(&mut self, at: usize) {
        let token = self.code[at];
        let next = self.get(at + 1).map_or("", |token| token.text.as_str());
        if ["long", "short", "int", "double"].contains(&token.text.as_str())
            && ["long", "int", "double", "short"].contains(&next)
        {
            self.complain(token, format!("MQL5 has no {} {next}", token.text));
        }
        if self.are(at, &["enum", "class"]) || self.are(at, &["enum", "struct"]) {
            self.complain(token, "MQL5 has no enum class");
        }
        if self.are(at, &["enum", "_", ":"]) || self.are(at, &["enum", ":"]) {
            self.complain(token, "MQL5 has no underlying types of enumerations");
        }
        if self.is_name(at) && self.are(at + 1, &["&", "_", "="]) && self.begins_statement(at) {
            self.complain(token, "MQL5 has no local references");
        }
        if token.is("&&") && at > 0 && self.is_name(at - 1) && self.is_parameter(at) {
            self.complain(token, "MQL5 has no rvalue references");
        }
        if self.is_simple_type(at) && (self.is(at + 1, "{") || (self.is_name(at + 1) && self.is(at + 2, "{"))) {
            self.complain(token, "MQL5 makes no values of braces: write an equals sign, or a cast");
        }
        if self.is_simple_type(at)
            && self.are(at + 1, &["_", "("])
            && self.begins_statement(at)
            && self.is_initialised(at + 2)
        {
            self.complain(token, "MQL5 initialises with an equals sign");
        }
        if token.is("namespace") || token.is("extern") || token.is("typedef") || token.is("union") {
            self.complain(token, format!("{} can't be run natively", token.text));
        }
        if token.is("operator") && self.is_simple_type(at + 1) {
            self.complain(token, "MQL5 has no operators of conversion");
        }
        if token.is("default") && at > 0 && self.is(at - 1, "=") || self.are(at, &["=", "delete"]) {
            self.complain(token, "MQL5 has no defaulted or deleted functions");
        }
    }

    /// Whether a simple type, a name and a parenthesis in a function are a variable with its value.
    fn is_initialised(&self, open: usize) -> bool {
        let inside = self.outline.functions.iter().filter_map(|function| function.body.as_ref());
        inside.into_iter().any(|body| body.contains(&open))
    }

    /// Whether the position is in the parentheses of a function's head.
    fn is_parameter(&self, at: usize) -> bool {
        self.outline.functions.iter().any(|function| function.head.contains(&at))
    }

    fn functions(&mut self) {
        for function in &self.outline.functions {
            let name = self.outline.token(self.source, function.name);
            let is_reference =
                (function.head.start..function.name).any(|at| self.outline.token(self.source, at).is("&"));
            if is_reference && !name.is("operator") {
                self.complain(name, format!("{}: MQL5 returns no references", name.text));
            }
            let after = self.source.tokens.get(self.outline.code.get(function.head.end).copied().unwrap_or(usize::MAX));
            if let Some(arrow) = after.filter(|token| token.is("->")) {
                self.complain(arrow, "MQL5 has no trailing return types");
            }
            for parameter in &function.parameters {
                self.parameter(parameter);
            }
        }
    }

    fn parameter(&mut self, parameter: &Parameter) {
        let token = |at| self.outline.token(self.source, at);
        let first = token(parameter.range.start);
        let has = |mark: &str| parameter.range.clone().any(|at| token(at).is(mark));
        if has("[") && parameter.array.is_none() {
            return self.complain(first, "MQL5 passes arrays by reference: write &name[]");
        }
        let type_name = parameter.name.and_then(|name| name.checked_sub(1)).map(token);
        let is_structure = type_name.is_some_and(|name| self.is_own_type(&name.text) || name.text.starts_with("Mql"));
        if is_structure && !has("&") {
            self.complain(first, "MQL5 passes structures and objects by reference");
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

    /// As many parameters as specifications; which types they have is found when the program runs.
    fn formats(&mut self, at: usize) {
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
    fn commas(&self, begin: usize, end: usize) -> usize {
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

fn is_prefix(word: &str) -> bool {
    matches!(word, "L" | "u" | "u8" | "U" | "R" | "LR")
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
