//! The C++ text: what stands in front of the program, the program itself, and what the runtime calls.

use std::fmt::Write as _;
use std::ops::Range;

use super::{Translation, escapes, literal};
use crate::outline::Enumeration;
use crate::token::Kind;

/// The handlers of events, in the order of the runtime's `Program`, and how they are called.
const HANDLERS: [(&str, &str); 5] = [
    ("OnInit", "[]() -> int { return ::runtime::init_code([] { return expert::OnInit(); }); }"),
    ("OnDeinit", "[](int reason) { expert::OnDeinit(reason); }"),
    ("OnTimer", "[] { expert::OnTimer(); }"),
    ("OnTick", "[] { expert::OnTick(); }"),
    (
        "OnTradeTransaction",
        "[](const ::mql::MqlTradeTransaction &transaction, const ::mql::MqlTradeRequest &request, \
         const ::mql::MqlTradeResult &result) { expert::OnTradeTransaction(transaction, request, result); }",
    ),
];

impl Translation<'_> {
    pub(super) fn preamble(&self) -> String {
        let mut out = String::new();
        for definition in &self.source.macros {
            let body: String = definition
                .body
                .iter()
                .map(|token| match token.kind {
                    Kind::Text => format!("::mql::literal({})", escapes(&token.text)),
                    Kind::Comment => String::new(),
                    _ => literal(token).unwrap_or_else(|| token.text.clone()),
                })
                .collect();
            let file = self.source.files[definition.file].display();
            let _ = writeln!(
                out,
                "#line {} \"{file}\"\n#define {}{} {}",
                definition.line,
                definition.name,
                definition.parameters,
                body.trim()
            );
        }
        for enumeration in &self.outline.enumerations {
            let texts: Vec<&str> = enumeration.range.clone().map(|at| self.text(at)).collect();
            let first = self.token(enumeration.range.start);
            let file = self.source.files[first.file].display();
            let _ = writeln!(out, "#line {} \"{file}\"\n{}", first.line, texts.join(" "));
        }
        let named: Vec<&Enumeration> =
            self.outline.enumerations.iter().filter(|found| !found.name.is_empty()).collect();
        out.push_str(&enum_to_string(&named));
        for (keyword, name) in &self.outline.types {
            let keyword = if keyword == "interface" { "struct" } else { keyword };
            let _ = writeln!(out, "{keyword} {name};");
        }
        for function in self.announced() {
            let first = self.token(function.head.start);
            let file = self.source.files[first.file].display();
            let _ = writeln!(out, "#line {} \"{file}\"\n{};", first.line, self.now(function.head.clone()));
        }
        out
    }

    /// The program's own text. A `#line` stands wherever the lines do not go on by themselves.
    pub(super) fn body(&self) -> String {
        let mut out = String::new();
        let (mut file, mut line) = (usize::MAX, 0);
        let defaults = self.announced().flat_map(|function| &function.parameters).filter_map(|one| one.default.clone());
        let left_out: Vec<Range<usize>> =
            defaults.map(|range| self.outline.code[range.start]..self.outline.code[range.end - 1] + 1).collect();
        for (index, token) in self.source.tokens.iter().enumerate() {
            if (token.file, token.line) != (file, line) && (out.ends_with('\n') || token.file != file) {
                let path = self.source.files[token.file].display();
                let _ = write!(out, "\n#line {} \"{path}\"\n", token.line);
                (file, line) = (token.file, token.line);
            }
            let shown = match token.kind {
                Kind::Comment => " ".to_owned() + &"\n".repeat(token.text.matches('\n').count()),
                Kind::Space => token.text.replace('\r', ""),
                _ if left_out.iter().any(|range| range.contains(&index)) => String::new(),
                _ => self.now_at(index).to_owned(),
            };
            line += shown.matches('\n').count();
            out.push_str(&shown);
        }
        out
    }

    /// What the runtime calls.
    pub(super) fn program(&self, name: &str) -> String {
        let mut out = format!("const ::runtime::Program runtime::program = {{\n    \"{name}\",\n");
        for (handler, call) in HANDLERS {
            let is_there = self.announced().any(|function| self.text(function.name) == handler);
            let _ = writeln!(out, "    {},", if is_there { call } else { "nullptr" });
        }
        out + "};\n"
    }
}

/// `EnumToString` for enumerations, given their names and constants.
pub(crate) fn enum_to_string(enumerations: &[&Enumeration]) -> String {
    let mut out = String::new();
    for enumeration in enumerations {
        let name = &enumeration.name;
        let _ = writeln!(out, "inline ::mql::string EnumToString({name} value) {{");
        for item in &enumeration.items {
            let _ = writeln!(out, "    if (value == {item}) return ::mql::literal(\"{item}\");");
        }
        let _ = writeln!(out, "    return ::mql::literal(\"{name}::\") + ::mql::string(value);\n}}");
    }
    out
}
