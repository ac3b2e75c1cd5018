//! MQL5 as tokens. Nothing is dropped: the texts of all tokens, one after the other, are the source.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Blanks and line ends.
    Space,
    /// `// …` and `/* … */`.
    Comment,
    /// `"…"`.
    Text,
    /// `'…'`.
    Character,
    /// `D'…'`.
    Date,
    /// `C'…'`.
    Color,
    /// A name or a keyword.
    Name,
    /// A number.
    Number,
    /// An operator or a bracket.
    Mark,
    /// A preprocessor directive, to the end of its line or lines.
    Directive,
}

/// A piece of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Its text.
    pub text: String,
    /// The file it is from, an index into [`Source::files`](crate::source::Source::files).
    pub file: usize,
    /// The line on which it begins, from 1.
    pub line: usize,
}

impl Token {
    /// Whether it is this very word or mark.
    pub fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Name | Kind::Mark) && self.text == text
    }

    /// Whether it is neither blank nor comment nor directive.
    pub fn is_code(&self) -> bool {
        !matches!(self.kind, Kind::Space | Kind::Comment | Kind::Directive)
    }
}

/// Longest first, so that `<<=` is not `<` and `<=`.
const MARKS: [&str; 24] = [
    "<<=", ">>=", "...", "->", "::", "++", "--", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "==", "!=", "<=",
    ">=", "&&", "||", "<<", ">>", "##",
];

/// The tokens of one file. What is not closed ends with the line, or with the file.
pub fn tokens(text: &str, file: usize) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut line = 1;
    let mut line_begins = true;
    while !rest.is_empty() {
        let (kind, length) = next(rest, line_begins);
        let (text, after) = rest.split_at(length);
        if kind != Kind::Comment {
            line_begins = if kind == Kind::Space { line_begins || text.contains('\n') } else { false };
        }
        found.push(Token { kind, text: text.to_owned(), file, line });
        line += text.matches('\n').count();
        rest = after;
    }
    found
}

fn next(rest: &str, line_begins: bool) -> (Kind, usize) {
    let first = rest.chars().next().unwrap_or(' ');
    if first.is_whitespace() {
        return (Kind::Space, rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len()));
    }
    if first == '#' && line_begins {
        return (Kind::Directive, directive(rest));
    }
    if rest.starts_with("//") {
        return (Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Kind::Comment, rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    match first {
        '"' => return (Kind::Text, quoted(rest, 0, '"')),
        '\'' => return (Kind::Character, quoted(rest, 0, '\'')),
        'D' if rest[1..].starts_with('\'') => return (Kind::Date, quoted(rest, 1, '\'')),
        'C' if rest[1..].starts_with('\'') => return (Kind::Color, quoted(rest, 1, '\'')),
        _ => {}
    }
    if first.is_ascii_digit() || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
        return (Kind::Number, number(rest));
    }
    if is_name(first) {
        return (Kind::Name, rest.find(|c| !is_name(c)).unwrap_or(rest.len()));
    }
    let mark = MARKS.iter().find(|mark| rest.starts_with(**mark));
    (Kind::Mark, mark.map_or(first.len_utf8(), |mark| mark.len()))
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// To the closing quote, or to the end of the line where it is missing.
fn quoted(rest: &str, open: usize, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(open + 1) {
        match c {
            '\n' => return at,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Digits, letters and dots; a sign only behind the `e` of an exponent.
fn number(rest: &str) -> usize {
    let hexadecimal = rest.starts_with("0x") || rest.starts_with("0X");
    let mut before = ' ';
    for (at, c) in rest.char_indices() {
        let exponent = !hexadecimal && matches!(before, 'e' | 'E') && matches!(c, '+' | '-');
        if !(c.is_ascii_alphanumeric() || c == '.' || exponent) {
            return at;
        }
        before = c;
    }
    rest.len()
}

/// To the end of its line, a comment at its end left out; a backslash before the line's end continues it.
fn directive(rest: &str) -> usize {
    let mut inside_text = false;
    let mut before = ' ';
    for (at, c) in rest.char_indices() {
        match c {
            '"' if before != '\\' => inside_text = !inside_text,
            '/' if !inside_text && (rest[at..].starts_with("//") || rest[at..].starts_with("/*")) => return at,
            '\n' if before != '\\' => return at,
            _ => {}
        }
        if c != '\r' {
            before = c;
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests;
