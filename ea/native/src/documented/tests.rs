use std::path::Path;

use super::{Meaning, findings, names};
use crate::outline::Outline;
use crate::source::Source;

fn complaints(text: &str) -> Vec<String> {
    let source = Source::of_text("test.mq5", text);
    findings(&source, &Outline::of(&source)).iter().map(ToString::to_string).collect()
}

/// Goal: what the program defines, in any of the ways there are, is known; so is what is documented.
#[test]
fn own_and_documented_names_are_known() {
    let source = "struct S { int a; double b[]; };\nenum E { A=1, B };\nclass C { string m; public: void f(const int p,long &q[]); };\n\
                  int g_x=0,g_y[3];\nvoid C::f(const int p,long &q[]) { for(int i=0; i<p; i++) { static S s; s.a=A; } Print(q[0],m,g_y[1]); }\n\
                  void OnTick(void) { MqlTick tick; if(SymbolInfoTick(_Symbol,tick)) g_x=(int)(tick.bid/_Point); E e=(E)1; Print(EnumToString(e),B); }";
    assert_eq!(complaints(source), Vec::<String>::new());
}

/// Goal: an unknown name is told with its place, and so is a known one that is used for something else.
#[test]
fn unknown_names_are_told_with_their_place() {
    for (source, said) in [
        ("void f() {\n StringLength(\"\"); }", "test.mq5:2: StringLength: neither defined here nor documented"),
        ("void f() { Print(tick.bids); }", "tick: neither"),
        ("void f() { MqlTick t; Print(t.ACCOUNT_LOGIN); }", "ACCOUNT_LOGIN: no documented member"),
        ("void f() { Print(ACCOUNT_LOGIN()); }", "ACCOUNT_LOGIN: no documented function"),
        ("void f() { Print(StringLen); }", "StringLen: a function"),
        ("void f() { Print(bid); }", "bid: a member"),
    ] {
        assert!(complaints(source).iter().any(|found| found.contains(said)), "{said:?} in {:?}", complaints(source));
    }
}

/// Goal: the native runtime offers nothing to a program that the reference does not document.
#[test]
fn the_runtime_offers_nothing_that_is_not_documented() {
    let known = names();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime");
    let mut looked_at = 0;
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().extension().is_none_or(|extension| extension != "hpp") {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let source = Source::of_text(&name, &text);
        let outline = Outline::of(&source);
        // What the runtime has for itself begins with a small letter, or is in its own namespace.
        let offered = text.split_once("namespace mql {").map_or("", |(_, offered)| offered);
        for function in &outline.functions {
            let function = &outline.token(&source, function.name).text;
            let is_offered =
                function.starts_with(|c: char| c.is_ascii_uppercase()) && offered.contains(function.as_str());
            let known = known.get(function.as_str());
            if is_offered && !outline.types.iter().any(|(_, name)| name == function) {
                assert!(known.is_some_and(|known| known.contains(&Meaning::Function)), "{name}: {function}");
                looked_at += 1;
            }
        }
        if name == "constants.hpp" {
            let constants = outline.enumerations.iter().flat_map(|one| &one.items);
            let single =
                text.lines().filter_map(|line| line.strip_prefix("inline constexpr ")?.split_whitespace().nth(1));
            for constant in constants.map(String::as_str).chain(single) {
                assert!(known.get(constant).is_some_and(|known| known.contains(&Meaning::Constant)), "{constant}");
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 400, "only {looked_at}");
}
