//! What functions of the program are called with.

use std::ops::Range;

use super::Lint;
use crate::token::Kind;

impl Lint<'_> {
    /// C++ passes what a function returns to a constant reference; MQL5 wants a variable.
    pub(super) fn references(&mut self, at: usize) {
        let is_call = self.is_name(at) && self.is(at + 1, "(") && !self.outline.functions.iter().any(|f| f.name == at);
        if !is_call {
            return;
        }
        for (index, argument) in self.arguments(at + 2, self.closing(at + 1)).into_iter().enumerate() {
            if self.is_reference(at, index) && !self.is_variable(argument.clone()) {
                self.complain(self.code[argument.start], "passed as a reference: MQL5 wants a variable here");
            }
        }
    }

    fn arguments(&self, begin: usize, end: usize) -> Vec<Range<usize>> {
        let mut arguments = Vec::new();
        let mut start = begin;
        for at in begin..end {
            if self.is(at, ",") && self.commas(begin, at + 1) > arguments.len() {
                arguments.push(start..at);
                start = at + 1;
            }
        }
        if start < end {
            arguments.push(start..end);
        }
        arguments
    }

    /// Whether all functions of the name that is called, or else all methods, take this parameter by reference.
    fn is_reference(&self, name: usize, index: usize) -> bool {
        let method = name > 0 && self.is(name - 1, ".");
        let named = |function: &&crate::outline::Function| {
            function.owner.is_some() == method
                && self.outline.token(self.source, function.name).text == self.code[name].text
        };
        let mut parameters = self.outline.functions.iter().filter(named).map(|function| function.parameters.get(index));
        let by_reference = |parameter: Option<&crate::outline::Parameter>| {
            parameter.is_some_and(|parameter| parameter.range.clone().any(|at| self.is(at, "&")))
        };
        parameters.clone().next().is_some() && parameters.all(by_reference)
    }

    /// A name, its members and its items.
    fn is_variable(&self, argument: Range<usize>) -> bool {
        let mut depth = 0usize;
        self.is_name(argument.start)
            && argument.into_iter().all(|at| {
                let token = self.code[at];
                depth += usize::from(token.is("["));
                let fits = depth > 0 || token.kind == Kind::Name || token.is(".");
                depth -= usize::from(token.is("]") && depth > 0);
                fits
            })
    }
}
