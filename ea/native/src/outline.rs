//! The declarations of a program: its types, functions, variables and their names, by position in its code.
//!
//! It reads declarations and walks over expressions; what it does not understand it leaves alone.

mod reader;

use std::collections::BTreeSet;
use std::ops::Range;

use crate::source::Source;
use crate::token::Token;

/// Where something is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Outside of everything.
    File,
    /// In a struct or class.
    Member,
    /// In a function.
    Local,
}

/// One name of a declaration of variables, with what belongs to it.
#[derive(Debug, Clone)]
pub struct Declarator {
    /// Its name.
    pub name: usize,
    /// The brackets and what is between them, one range a dimension.
    pub dimensions: Vec<Range<usize>>,
    /// From the equals sign on.
    pub initialiser: Option<Range<usize>>,
}

/// A declaration of variables, up to its semicolon.
#[derive(Debug, Clone)]
pub struct Variables {
    /// From the first specifier to before the semicolon.
    pub range: Range<usize>,
    /// The type's name.
    pub type_name: usize,
    /// Where it stands.
    pub scope: Scope,
    /// `input` or `sinput`.
    pub is_input: bool,
    /// What it declares.
    pub declarators: Vec<Declarator>,
}

/// A parameter of a function.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// All of it, the default value included.
    pub range: Range<usize>,
    /// Its name, where it has one.
    pub name: Option<usize>,
    /// The type's name of an array that is passed by reference, and its brackets.
    pub array: Option<(usize, Range<usize>)>,
    /// From the equals sign on.
    pub default: Option<Range<usize>>,
}

/// A function or a method, declared or defined.
#[derive(Debug, Clone)]
pub struct Function {
    /// From the first token of its return type to its closing parenthesis.
    pub head: Range<usize>,
    /// Its name.
    pub name: usize,
    /// The class it belongs to.
    pub owner: Option<String>,
    /// What it is called with.
    pub parameters: Vec<Parameter>,
    /// Between and with its braces; none for a declaration.
    pub body: Option<Range<usize>>,
    /// Where it stands.
    pub scope: Scope,
    /// Whether it is a template.
    pub is_template: bool,
}

/// An enumeration.
#[derive(Debug, Clone)]
pub struct Enumeration {
    /// With its semicolon.
    pub range: Range<usize>,
    /// Its name; empty where it has none.
    pub name: String,
    /// Its constants.
    pub items: Vec<String>,
}

/// The declarations of a program. Positions are indices into [`Outline::code`].
#[derive(Debug, Default)]
pub struct Outline {
    /// Indices of the tokens that are code.
    pub code: Vec<usize>,
    /// Functions and methods.
    pub functions: Vec<Function>,
    /// Variables, members and inputs.
    pub variables: Vec<Variables>,
    /// Structs and classes: keyword, name.
    pub types: Vec<(String, String)>,
    /// Enumerations.
    pub enumerations: Vec<Enumeration>,
    /// `input group "…"`.
    pub input_groups: Vec<Range<usize>>,
    /// Every name that the program itself gives to something.
    pub names: BTreeSet<String>,
}

impl Outline {
    /// Reads the declarations of a program.
    pub fn of(source: &Source) -> Self {
        let code = (0..source.tokens.len()).filter(|index| source.tokens[*index].is_code()).collect();
        let outline = Self { code, ..Self::default() };
        let mut outline = reader::read(&source.tokens, outline);
        for definition in &source.macros {
            outline.names.insert(definition.name.clone());
            let parameters = definition.parameters.trim_matches(['(', ')']).split(',');
            outline.names.extend(parameters.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()));
        }
        outline
    }

    /// The token at a position of the code.
    pub fn token<'source>(&self, source: &'source Source, at: usize) -> &'source Token {
        &source.tokens[self.code[at]]
    }
}
