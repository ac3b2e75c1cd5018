use super::{Kind, tokens};

fn code(text: &str) -> Vec<(Kind, String)> {
    let found = tokens(text, 0).into_iter().filter(|token| token.kind != Kind::Space);
    found.map(|token| (token.kind, token.text)).collect()
}

fn one(kind: Kind, text: &str) -> (Kind, String) {
    (kind, text.to_owned())
}

/// Goal: nothing of a source is lost, however odd it is.
#[test]
fn the_tokens_are_the_source() {
    for source in [
        "#property strict // x\r\nint a[]={1,2}; /* b\n*/ string s=\"a\\\"b\" \"c\";",
        "\"not closed\nint x;",
        "/* not closed",
        "'",
        "datetime d=D'2026.11.24 21:00'; color c=C'1,2,3';",
        "#define A(x) \\\n  ((x)+1)\nint é;",
    ] {
        let joined: String = tokens(source, 0).into_iter().map(|token| token.text).collect();
        assert_eq!(joined, source);
    }
}

/// Goal: literals are told apart from names that begin alike.
#[test]
fn dates_colors_and_characters_are_literals() {
    assert_eq!(
        code("D'2026.01.01' C'0,0,0' 'x' '\\'' D C DD"),
        [
            one(Kind::Date, "D'2026.01.01'"),
            one(Kind::Color, "C'0,0,0'"),
            one(Kind::Character, "'x'"),
            one(Kind::Character, "'\\''"),
            one(Kind::Name, "D"),
            one(Kind::Name, "C"),
            one(Kind::Name, "DD"),
        ]
    );
}

/// Goal: a number takes its exponent with it and leaves an operator alone.
#[test]
fn numbers_end_where_they_end() {
    assert_eq!(
        code("1e-9+0x1E+.5-3.f"),
        [
            one(Kind::Number, "1e-9"),
            one(Kind::Mark, "+"),
            one(Kind::Number, "0x1E"),
            one(Kind::Mark, "+"),
            one(Kind::Number, ".5"),
            one(Kind::Mark, "-"),
            one(Kind::Number, "3.f"),
        ]
    );
}

/// Goal: a comment hides what is in it, a text hides a comment.
#[test]
fn comments_and_texts_hide_each_other() {
    assert_eq!(code("// \"a\" int"), [one(Kind::Comment, "// \"a\" int")]);
    assert_eq!(code("\"// no\""), [one(Kind::Text, "\"// no\"")]);
}

/// Goal: every token knows its line, behind continued directives and long comments too.
#[test]
fn lines_are_counted() {
    let found = tokens("#define A \\\n 1\n/* \n */ int\nx", 3);
    let lines: Vec<_> =
        found.iter().filter(|token| token.is_code()).map(|token| (token.text.as_str(), token.line)).collect();
    assert_eq!(lines, [("int", 4), ("x", 5)]);
    assert!(found.iter().all(|token| token.file == 3));
}
