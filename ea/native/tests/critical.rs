//! What stops a program: the critical errors of MQL5, and what MQL5 would let pass in silence.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use support::{Run, Sandbox, program};

fn run(case: &str, sanitize: bool) -> Run {
    let program = program("Critical", sanitize);
    Sandbox::new(&case.replace(' ', "-")).run(&program, &format!("InpCase={case}\n"), &[])
}

/// The program stopped in the middle, said why, and `OnDeinit` was not called.
fn must_stop(case: &str, why: &str) {
    let run = run(case, false);
    let log = run.log();
    assert_eq!((run.code(), log.len()), (Some(3), 2), "{case}: {}\n{}", log.join("\n"), run.errors());
    assert!(log[1].starts_with("critical error: ") && log[1].contains(why), "{case}: {}", log[1]);
}

/// Goal: an index outside of its array stops the program.
#[test]
fn an_index_out_of_range_is_critical() {
    must_stop("index", "array out of range: index 5 of 3");
    must_stop("negative index", "array out of range: index -1 of 3");
}

/// Goal: a division by zero stops the program, for doubles too, and for nothing by nothing.
#[test]
fn a_division_by_zero_is_critical() {
    for case in ["integer divide", "remainder", "double divide", "nothing by nothing"] {
        must_stop(case, "zero divide");
    }
}

/// Goal: a specification that does not fit its parameter stops the program instead of printing rubbish.
#[test]
fn a_format_that_does_not_match_is_critical() {
    must_stop("long as int", "it needs I64");
    must_stop("int as long", "wants a 64-bit integer");
    must_stop("text as int", "wants an integer");
    must_stop("int as text", "wants a string");
    must_stop("int as double", "wants a double");
    must_stop("too few", "more specifications than parameters");
    must_stop("too many", "fewer specifications than parameters");
    must_stop("no such specification", "does not know");
}

/// Goal: without an error the same program ends as usual.
#[test]
fn a_sound_program_ends_by_itself() {
    let run = run("none", false);
    assert_eq!((run.code(), run.log()), (Some(0), vec!["before".into(), "after".into(), "deinit 0".into()]));
}

/// Goal: a program that refuses to start is deinitialised with that reason, and fails.
#[test]
fn a_failed_start_is_told_and_fails() {
    let run = run("refused", false);
    assert_eq!((run.code(), run.log()), (Some(1), vec!["before".into(), "deinit 8".into()]));
}

/// Goal: what was never written is no zero, so that reading it shows.
#[test]
fn what_was_never_written_is_no_zero() {
    run("never written", false).must_say("read false false true");
}

/// Goal: with the sanitizers a sum that does not fit is found, and the report names the line of the source.
#[test]
fn the_sanitizers_name_the_line_of_the_source() {
    run("overflow", false).must_say("-2147483648");
    let found = run("overflow", true);
    let line = std::fs::read_to_string(support::fixtures().join("Critical.mq5")).unwrap();
    let line = line.lines().position(|line| line.contains("2147483647+")).unwrap() + 1;
    assert_eq!(found.code(), Some(3));
    assert!(found.errors().contains(&format!("Critical.mq5:{line}:")), "{}", found.errors());
    assert!(found.errors().contains("signed integer overflow"), "{}", found.errors());
}

/// Goal: what only knows types can find, such as a number where an enumeration is wanted, is found by the compiler,
/// and told with the line of the source.
#[test]
fn the_compiler_names_the_line_of_the_source() {
    let sandbox = Sandbox::new("compiler");
    let source = sandbox.path().join("Wrong.mq5");
    std::fs::write(&source, "void OnInit(void)\n  {\n   ENUM_ORDER_TYPE type=0;\n   Print(type);\n  }\n").unwrap();
    let out = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("Wrong");
    let build = ea_native::Build { source, include: support::fixtures(), out, sanitize: false };
    let error = ea_native::build(&build).unwrap_err().to_string();
    assert!(error.contains("Wrong.mq5:3:") && error.contains("invalid conversion"), "{error}");
}

/// Goal: a build of what has not changed does nothing.
#[test]
fn what_has_not_changed_is_not_built_again() {
    program("Critical", false);
    let build = ea_native::Build {
        source: support::fixtures().join("Critical.mq5"),
        include: support::fixtures(),
        out: std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("Critical"),
        sanitize: false,
    };
    assert!(!ea_native::build(&build).unwrap());
}
