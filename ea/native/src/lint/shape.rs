//! Rules about the shape of statements and declarations: pointers, references, braces, heads of functions.

use super::Lint;
use crate::outline::Parameter;

impl Lint<'_> {
    pub(super) fn pointers(&mut self, at: usize) {
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

    pub(super) fn statements(&mut self, at: usize) {
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

    pub(super) fn declarations(&mut self, at: usize) {
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

    pub(super) fn functions(&mut self) {
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
}
