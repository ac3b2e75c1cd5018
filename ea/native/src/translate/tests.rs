use super::translate;
use crate::outline::Outline;
use crate::source::Source;

fn translated(text: &str) -> Result<String, Vec<String>> {
    let source = Source::of_text("test.mq5", text);
    translate(&source, &Outline::of(&source), "test")
        .map_err(|findings| findings.iter().map(ToString::to_string).collect())
}

/// Whether the translation has this in it, blanks left aside.
fn has(text: &str, wanted: &str) {
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    let out = translated(text).unwrap();
    assert!(plain(&out).contains(&plain(wanted)), "no {wanted} in\n{out}");
}

/// Goal: each construct of MQL5 becomes the C++ that means the same.
#[test]
fn each_construct_has_its_translation() {
    for (source, wanted) in [
        ("string s=\"n=\"+\"5\";", "string s=::mql::literal(\"n=\")+::mql::literal(\"5\");"),
        ("string s=\"a\" \"b\";", "string s=::mql::literal(\"a\" \"b\");"),
        ("string s=\"\\x00e9z\";", "::mql::literal(\"\\u00e9z\")"),
        ("ushort c='\\n';", "ushort c=::mql::character(u'\\n');"),
        ("datetime d=D'2026.01.01 00:00';", "::mql::date_literal(\"2026.01.01 00:00\")"),
        ("color c=C'1,2,3';", "::mql::color(1 | 2 << 8 | 3 << 16)"),
        ("input int InpA=5;", "const int InpA=::runtime::input<int>(\"InpA\", 5);"),
        ("sinput string InpS=\"x\";", "const string InpS=::runtime::input<string>(\"InpS\", ::mql::literal(\"x\"));"),
        ("input group \"A\"\ninput bool InpB=true;", "\nconst bool InpB"),
        ("int g[];", "::mql::array<int> g;"),
        (
            "int g[3],h,i[]={1,2};",
            "::mql::array<int> g=::mql::array<int>::fixed(3,{});int h;::mql::array<int> i={1,2};",
        ),
        ("void f() { int a[3]= {1}; }", "::mql::array<int> a=::mql::array<int>::fixed(3,{1});"),
        ("void f() { int a[3]; }", "::mql::array<int> a=::mql::array<int>::fixed(3);"),
        ("void f() { static int a[3]; }", "static ::mql::array<int> a=::mql::array<int>::fixed(3,{});"),
        ("struct S { long t[]; };", "::mql::member_array<long> t;"),
        ("void f(const int &a[],string &s) { }", "void f(const ::mql::array<int> & a,string &s) {"),
        ("class C { int m; void f() { this.m=1; } };", "this->m=1"),
        ("class C { void f() { Print(__FUNCTION__); } };", "::mql::literal(\"C::f\")"),
        ("void g() { } void f() { ::g(); ::Print(1); }", "::expert::g(); ::mql::Print(1);"),
    ] {
        has(source, wanted);
    }
}

/// Goal: functions may be used before they are defined; their default values stand in the announcement alone.
#[test]
fn functions_are_announced() {
    let out = translated("void a() { b(1); }\nstruct S { int x; };\nint b(const int x,const int y=2) { return(x+y); }")
        .unwrap();
    let announced = out.find("int b ( const int x , const int y = 2 );").unwrap();
    assert!(out.find("struct S;").unwrap() < announced && announced < out.find("b(1)").unwrap());
    assert!(out.contains("int b(const int x,const int y)"), "{out}");
}

/// Goal: the compiler and the sanitizers name the line of the source for every token.
#[test]
fn every_line_stays_where_it_was() {
    let source =
        "// one\n/* two\n three */\nint a[],\n    b[2];\nstring s=\"x\"\n   \"y\";\nvoid f()\n  {\n   a[0]=1;\n  }\n";
    let out = translated(source).unwrap();
    let (mut line, mut found) = (0, Vec::new());
    for text in out.lines() {
        if let Some(rest) = text.strip_prefix("#line ") {
            line = rest.split(' ').next().unwrap().parse().unwrap();
            continue;
        }
        for word in ["b =", "\"y\"", "a[0]=1"] {
            if text.contains(word) {
                found.push((word, line));
            }
        }
        line += 1;
    }
    assert_eq!(found, [("b =", 5), ("\"y\"", 7), ("a[0]=1", 10)], "{out}");
}

/// Goal: the runtime is given the handlers that there are, whatever they return.
#[test]
fn handlers_are_handed_over() {
    let out = translated("void OnInit() { }\nvoid OnTick(void) { }").unwrap();
    let program = &out[out.find("runtime::program").unwrap()..];
    assert!(program.contains("expert::OnInit()") && program.contains("expert::OnTick()"), "{program}");
    assert_eq!(program.matches("nullptr").count(), 3);
}

/// Goal: what can't be translated is refused in plain words, with its line.
#[test]
fn what_it_does_not_take_is_refused() {
    for (source, said) in [
        ("int x;\nint a[2][3];", "test.mq5:2: an array of more than one dimension"),
        ("input int InpA[3];", "test.mq5:1: an input is"),
        ("input int InpA;", "test.mq5:1: an input is one variable with a value"),
    ] {
        let findings = translated(source).unwrap_err();
        assert!(findings[0].starts_with(said), "{findings:?}");
    }
}
