//! Walks over the code of a program, once, and notes its declarations.

use std::ops::Range;

use super::{Declarator, Enumeration, Function, Outline, Parameter, Scope, Variables};
use crate::token::{Kind, Token};

/// Names before another name that do not make a declaration of the two.
const NO_TYPES: [&str; 17] = [
    "return",
    "else",
    "delete",
    "new",
    "case",
    "goto",
    "throw",
    "using",
    "typedef",
    "namespace",
    "do",
    "operator",
    "class",
    "struct",
    "enum",
    "template",
    "if",
];
const SPECIFIERS: [&str; 6] = ["static", "const", "virtual", "extern", "input", "sinput"];

/// Fills the outline of these tokens, whose positions of code it holds already.
pub(super) fn read(tokens: &[Token], outline: Outline) -> Outline {
    let mut reader = Reader { tokens, outline, at: 0 };
    reader.items(None);
    reader.outline
}

struct Reader<'source> {
    tokens: &'source [Token],
    outline: Outline,
    at: usize,
}

impl Reader<'_> {
    fn get(&self, at: usize) -> Option<&Token> {
        self.outline.code.get(at).map(|index| &self.tokens[*index])
    }

    fn is(&self, at: usize, text: &str) -> bool {
        self.get(at).is_some_and(|token| token.is(text))
    }

    fn text(&self, at: usize) -> String {
        self.get(at).map(|token| token.text.clone()).unwrap_or_default()
    }

    fn is_name(&self, at: usize) -> bool {
        self.get(at).is_some_and(|token| token.kind == Kind::Name)
    }

    /// A name that can be a type's.
    fn is_type(&self, at: usize) -> bool {
        self.is_name(at) && !NO_TYPES.iter().chain(&SPECIFIERS).any(|word| self.is(at, word))
    }

    fn give_name(&mut self, at: usize) {
        let name = self.text(at);
        self.outline.names.insert(name);
    }

    /// Behind the bracket that closes the one here; the end where none does.
    fn behind_closing(&self, open: usize) -> usize {
        let mut depth = 0usize;
        for at in open..self.outline.code.len() {
            match self.get(at).map(|token| (token.kind, token.text.as_str())) {
                Some((Kind::Mark, "(" | "[" | "{")) => depth += 1,
                Some((Kind::Mark, ")" | "]" | "}")) => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return at + 1;
                    }
                }
                _ => {}
            }
        }
        self.outline.code.len()
    }

    /// The first of these marks from here on, outside of brackets.
    fn find(&self, mut at: usize, marks: &[&str]) -> usize {
        while at < self.outline.code.len() && !marks.iter().any(|mark| self.is(at, mark)) {
            at = if ["(", "[", "{"].iter().any(|open| self.is(at, open)) { self.behind_closing(at) } else { at + 1 };
        }
        at
    }

    /// What stands outside of functions, to the closing brace of its class or to the end.
    fn items(&mut self, owner: Option<&str>) {
        while self.at < self.outline.code.len() && !(owner.is_some() && self.is(self.at, "}")) {
            let before = self.at;
            self.item(owner);
            self.at = self.at.max(before + 1);
        }
    }

    fn item(&mut self, owner: Option<&str>) {
        let word = self.text(self.at);
        match word.as_str() {
            "public" | "private" | "protected" => self.at = self.find(self.at, &[":"]) + 1,
            "struct" | "class" | "interface" | "union" => self.type_definition(&word),
            "enum" => self.enumeration(),
            "input" | "sinput" if self.is(self.at + 1, "group") => {
                let end = self.at + if self.is(self.at + 3, ";") { 4 } else { 3 };
                self.outline.input_groups.push(self.at..end);
                self.at = end;
            }
            "template" => {
                while self.at < self.outline.code.len() && !self.is(self.at, ">") {
                    if self.is(self.at, "typename") {
                        self.give_name(self.at + 1);
                    }
                    self.at += 1;
                }
                self.at += 1;
                self.declaration(owner, true);
            }
            _ => self.declaration(owner, false),
        }
    }

    fn type_definition(&mut self, keyword: &str) {
        let name = self.text(self.at + 1);
        self.outline.names.insert(name.clone());
        let end = self.find_brace(self.at);
        if !self.outline.types.iter().any(|(_, known)| *known == name) {
            self.outline.types.push((keyword.to_owned(), name.clone()));
        }
        self.at = end + 1;
        if self.is(end, "{") {
            self.items(Some(&name));
            self.at = self.find(self.at + 1, &[";"]) + 1;
        }
    }

    /// The brace that opens a type, or the semicolon of its announcement.
    fn find_brace(&self, mut at: usize) -> usize {
        while at < self.outline.code.len() && !self.is(at, "{") && !self.is(at, ";") {
            at += 1;
        }
        at
    }

    fn enumeration(&mut self) {
        let begin = self.at;
        let open = self.find_brace(begin);
        let end = self.behind_closing(open);
        let name = if open > begin + 1 { self.text(begin + 1) } else { String::new() };
        let mut items = Vec::new();
        let mut at = open + 1;
        while at + 1 < end {
            items.push(self.text(at));
            at = self.find(at, &[",", "}"]) + 1;
        }
        self.outline.names.extend(items.iter().cloned());
        self.outline.names.insert(name.clone());
        let end = if self.is(end, ";") { end + 1 } else { end };
        self.outline.enumerations.push(Enumeration { range: begin..end, name, items });
        self.at = end;
    }

    fn declaration(&mut self, owner: Option<&str>, is_template: bool) {
        let begin = self.at;
        let scope = if owner.is_some() { Scope::Member } else { Scope::File };
        let mut at = begin;
        while SPECIFIERS.iter().any(|word| self.is(at, word)) {
            at += 1;
        }
        if let Some((name, of)) = self.function_name(at, owner)
            && let Some(open) = (name..name + 4).find(|at| self.is(*at, "("))
            && self.looks_like_parameters(open)
        {
            self.function(begin, name, open, of, scope, is_template);
        } else if self.is_type(at) && self.is_name(at + 1) {
            self.variables(begin, at, scope);
        }
    }

    /// The name of the function whose declaration goes on here, and its class.
    fn function_name(&self, at: usize, owner: Option<&str>) -> Option<(usize, Option<String>)> {
        let own = owner.map(str::to_owned);
        // Constructors and destructors have no type, in their class and outside.
        if self.is(at, "~") {
            return Some((at + 1, own));
        }
        if owner.is_some_and(|owner| self.is(at, owner)) && self.is(at + 1, "(") {
            return Some((at, own));
        }
        if self.is(at + 1, "::") {
            let name = if self.is(at + 2, "~") { at + 3 } else { at + 2 };
            return Some((name, Some(self.text(at))));
        }
        let mut name = at + 1;
        while self.is(name, "&") || self.is(name, "*") {
            name += 1;
        }
        if self.is(name + 1, "::") {
            return Some((name + 2, Some(self.text(name))));
        }
        let known = self.is_type(at) && self.is_name(name) && (self.is(name + 1, "(") || self.is(name, "operator"));
        known.then_some((name, own))
    }

    /// Whether parentheses hold parameters, not the arguments of a variable's constructor.
    fn looks_like_parameters(&self, open: usize) -> bool {
        let behind = self.behind_closing(open);
        if !self.is(behind, ";") || self.is(open + 1, ")") || self.is(open + 1, "void") || self.is(open + 1, "const") {
            return true;
        }
        self.is_type(open + 1) && (self.is_name(open + 2) || self.is(open + 2, "&"))
    }

    fn function(
        &mut self,
        begin: usize,
        name: usize,
        open: usize,
        owner: Option<String>,
        scope: Scope,
        is_template: bool,
    ) {
        self.give_name(name);
        let close = self.behind_closing(open);
        let parameters = self.parameters(open, close - 1);
        let end = self.find_brace(close);
        let body = self.is(end, "{").then(|| end..self.behind_closing(end));
        self.at = body.as_ref().map_or(end + 1, |body| body.end);
        if let Some(body) = &body {
            self.body(body.clone());
        }
        self.outline.functions.push(Function { head: begin..close, name, owner, parameters, body, scope, is_template });
    }

    fn parameters(&mut self, open: usize, close: usize) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        let mut begin = open + 1;
        while begin < close {
            let end = self.find(begin, &[",", ")"]);
            parameters.push(self.parameter(begin..end));
            begin = end + 1;
        }
        parameters
    }

    fn parameter(&mut self, range: Range<usize>) -> Parameter {
        let equals = self.find(range.start, &["=", ",", ")"]);
        let default = self.is(equals, "=").then_some(equals..range.end);
        let bracket = (range.start..equals).find(|at| self.is(*at, "["));
        let last = bracket.unwrap_or(equals) - 1;
        // A lone name is a type: f(void), f(int).
        let name = (last > range.start && self.is_name(last)).then_some(last);
        if let Some(name) = name {
            self.give_name(name);
        }
        let array = bracket.and_then(|open| {
            let reference = (range.start..open).find(|at| self.is(*at, "&"))?;
            Some((reference - 1, open..self.behind_closing(open)))
        });
        Parameter { range, name, array, default }
    }

    /// Declarations inside a function, at the beginnings of its statements.
    fn body(&mut self, range: Range<usize>) {
        let mut at = range.start + 1;
        while at < range.end {
            let before = self.text(at - 1);
            let begins = matches!(before.as_str(), "{" | "}" | ";" | ":" | "else")
                || (before == "(" && self.is(at - 2, "for"))
                || (before == ")" && self.is(at, "static"));
            at = if begins { self.local(at) } else { at + 1 };
        }
    }

    /// Behind the declaration that begins here, if one does.
    fn local(&mut self, begin: usize) -> usize {
        let mut at = begin;
        while self.is(at, "static") || self.is(at, "const") {
            at += 1;
        }
        if !(self.is_type(at) && self.is_name(at + 1)) {
            return begin + 1;
        }
        if self.is(at + 2, "(") {
            self.give_name(at + 1);
            return at + 2;
        }
        if !["=", ";", ",", "[", ":"].iter().any(|mark| self.is(at + 2, mark)) {
            return begin + 1;
        }
        let kept = self.at;
        self.variables(begin, at, Scope::Local);
        // Back to the semicolon: the next statement begins behind it.
        let end = self.at - 1;
        self.at = kept;
        end
    }

    fn variables(&mut self, begin: usize, type_name: usize, scope: Scope) {
        let mut declarators = Vec::new();
        let mut at = type_name + 1;
        loop {
            let name = at;
            self.give_name(name);
            at += 1;
            let mut dimensions = Vec::new();
            while self.is(at, "[") {
                let end = self.behind_closing(at);
                dimensions.push(at..end);
                at = end;
            }
            let end = self.find(at, &[",", ";", "}"]);
            let initialiser = self.is(at, "=").then_some(at..end);
            declarators.push(Declarator { name, dimensions, initialiser });
            at = end;
            if !self.is(at, ",") || !self.is_name(at + 1) {
                break;
            }
            at += 1;
        }
        let is_input = (begin..type_name).any(|at| self.is(at, "input") || self.is(at, "sinput"));
        self.outline.variables.push(Variables { range: begin..at, type_name, scope, is_input, declarators });
        self.at = at + 1;
    }
}
