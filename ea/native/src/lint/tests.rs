use super::findings;
use crate::outline::Outline;
use crate::source::Source;

fn complaints(text: &str) -> Vec<String> {
    let source = Source::of_text("test.mq5", text);
    findings(&source, &Outline::of(&source)).into_iter().map(|finding| finding.message).collect()
}

/// One rule: a source that breaks it, what is said of it, and the nearest source that does not.
struct Rule(&'static str, &'static str, &'static str);

const RULES: [Rule; 49] = [
    Rule("void f() { p->x=1; }", "dot", "void f() { p.x=1; }"),
    Rule("void f() { std::abort(); }", "std", "void f() { int standard=1; }"),
    Rule("void f() { auto x=1; }", "auto", "void f() { int automatic=1; }"),
    Rule("void f() { Use(nullptr); }", "nullptr", "void f() { Use(NULL); }"),
    Rule("unsigned x;", "uint", "uint x;"),
    Rule("size_t x;", "size_t", "int size;"),
    Rule("int64_t x;", "int64_t", "long x_t;"),
    Rule("long long x;", "long long", "long x;"),
    Rule("constexpr int x=1;", "constexpr", "const int x=1;"),
    Rule("inline int f() { return(1); }", "inline", "int f() { return(1); }"),
    Rule("void f() { try { } catch(...) { } }", "exceptions", "void f() { Retry(); }"),
    Rule("void f() { goto end; }", "goto", "void f() { GoTo(); }"),
    Rule("using X=int;", "using", "int user;"),
    Rule("void f() { x=static_cast<int>(y); }", "static_cast", "void f() { x=(int)y; }"),
    Rule("void f() { x=reinterpret_cast<int>(y); }", "reinterpret_cast", "void f() { x=int(y); }"),
    Rule("void f() { if(a and b) g(); }", "&&", "void f() { if(a && b) g(); }"),
    Rule("void f() { int not=1; }", "reads `not`", "void f() { int note=1; }"),
    Rule("void f() { Sort([](int a) { return(a); }); }", "lambdas", "void f() { Sort(values[a]); }"),
    Rule("void f() { for(int x : values) g(x); }", "range", "void f() { for(int i=c ? 1 : 2; i<3; i++) g(i); }"),
    Rule("void f(int &&x) { }", "rvalue", "void f(int x) { if(x && y) g(); }"),
    Rule("void f() { int &x=y; }", "local references", "void f(int &x) { x=y & z; }"),
    Rule("int &f() { return(x); }", "returns no references", "int f(int &x) { return(x); }"),
    Rule("int x{5};", "braces", "int x=5;"),
    Rule("void f() { int x(5); }", "equals sign", "void f() { CThing x(5); }"),
    Rule("void f() { x=int{5}; }", "braces", "void f() { x=(int)5; }"),
    Rule("void f() { return {1,2}; }", "lists", "void f() { int a[]= {1,2}; }"),
    Rule("int *x;", "pointers to simple types", "int x=a*b;"),
    Rule("class C { }; void f() { C *c; }", "object pointers", "class C { }; void f() { C c; }"),
    Rule("void f() { c=new C; }", "new", "void f() { c=renew; }"),
    Rule("void f() { g(&x); }", "addresses", "void f() { g(x&y); }"),
    Rule("class C { void f() { g(*this); } };", "no pointer", "class C { void f() { this.g(); } };"),
    Rule("void f() { int a[3]; x=sizeof(a); }", "ArraySize", "void f() { int a; x=sizeof(a); }"),
    Rule("void f() { x=5u; }", "suffixes", "void f() { x=(uint)5; y=1.5f; z=0xFF; }"),
    Rule("void f() { x=5LL; }", "suffixes", "void f() { x=(long)5; }"),
    Rule("void f() { x=010; }", "octal", "void f() { x=10; y=0; z=0.5; }"),
    Rule("void f() { x=0b11; }", "hexadecimal", "void f() { x=0x3; }"),
    Rule("enum class E { A };", "enum class", "enum E { A };"),
    Rule("enum E : int { A };", "underlying", "enum E { A=1, B };"),
    Rule("void f() { if(int x=g()) h(); }", "condition", "void f() { int x=g(); if(x) h(); }"),
    Rule("void f(int a[]) { }", "by reference", "void f(const int &a[]) { }"),
    Rule("struct S { int x; }; void f(S s) { }", "by reference", "struct S { int x; }; void f(const S &s,S &t) { }"),
    Rule("void f(MqlTick tick) { }", "by reference", "void f(MqlTick &tick) { }"),
    Rule("void f() { Print(\"%d\" \"x); }", "not closed", "void f() { Print(\"x\" \"y\"); }"),
    Rule("void f() { c='ab'; }", "one alone", "void f() { c='a'; d='\\n'; }"),
    Rule("void f() { PrintFormat(\"%d %s\",1); }", "wants 2", "void f() { PrintFormat(\"%d%% %s\",g(1,2),\"x\"); }"),
    Rule(
        "struct S { int x; }; S g(int a) { S s; return(s); } void f(const S &s,int x) { } void h() { f(g(1),2); }",
        "wants a variable",
        "struct S { int x; }; S g(int a) { S s; return(s); } void f(const S &s,int x) { } void h() { S s=g(1); f(s,g(2).x); }",
    ),
    Rule(
        "struct S { int x; }; S g() { S s; return(s); } class C { void f(int x) { } }; void f(const S &s) { } void h() { f(g()); }",
        "wants a variable",
        "struct S { int x; }; S g() { S s; return(s); } class C { void f(int x) { } }; void f(const S &s) { } void h(C &c) { c.f(g().x); }",
    ),
    Rule("void f(int &x) { } void g() { f(5); }", "wants a variable", "void f(int &x) { } void g() { f(a[i+1].b); }"),
    Rule("void f() { s=StringFormat(\"%y\",1); }", "%y", "void f() { s=StringFormat(\"%-5I64d %.2f\",x,y); }"),
];

/// Goal: each rule says something of what it is against, and nothing of what is right.
#[test]
fn each_rule_fires_where_it_should_and_only_there() {
    for Rule(wrong, words, right) in RULES {
        let said = complaints(wrong);
        assert!(said.iter().any(|message| message.contains(words)), "nothing of {words:?} about {wrong}: {said:?}");
        assert_eq!(complaints(right), Vec::<String>::new(), "about {right}");
    }
}

/// Goal: what is in comments and texts is nobody's concern.
#[test]
fn comments_and_texts_are_left_alone() {
    assert_eq!(complaints("// auto p->x\nvoid f() { Print(\"std::auto p->x\"); /* goto */ }"), Vec::<String>::new());
}

/// Goal: a name before two colons is a class of the program.
#[test]
fn a_name_before_two_colons_is_a_class() {
    assert_eq!(complaints("class C { void f(); }; void C::f() { ::g(); }"), Vec::<String>::new());
    assert!(complaints("void f() { runtime::critical(\"x\"); }")[0].contains("no class of this program"));
}

/// Goal: what stands for nothing in MQL5 is found in macros too.
#[test]
fn macros_are_looked_at() {
    let folder = std::env::temp_dir().join(format!("ea-native-lint-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("macro.mq5");
    std::fs::write(&path, "#pragma once\n#if 1\n#define EMPTY nullptr\n").unwrap();
    let source = Source::read(&path, &folder).unwrap();
    let said: Vec<String> = findings(&source, &Outline::of(&source)).iter().map(ToString::to_string).collect();
    std::fs::remove_dir_all(&folder).unwrap();
    for (line, words) in [(1, "#pragma"), (2, "#if"), (3, "nullptr")] {
        assert!(said.iter().any(|said| said.contains(&format!(":{line}:")) && said.contains(words)), "{said:?}");
    }
}
