//! The language, the functions without a market, and the ends of a program, in programs that are translated,
//! compiled and run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use support::{Sandbox, program, web_server};

/// Goal: texts, numbers, arrays, dates and structures do what MQL5 does with them.
#[test]
fn the_language_is_that_of_mql5() {
    let run = Sandbox::new("language").run(&program("Basics", false), "", &[]);
    for line in [
        "text café 5 6 432 fé|",
        "split 4 abc",
        "null true false [(null)] [    x] 1 cafe 5",
        "format 5000000000 7 000000ff 1.00 s c% 1",
        "two texts Texts Down ORDER_TYPE_SELL_STOP",
        "number 42 3 -1 0.3333333333333333 2 44 5 3",
        "normal 1.23 1.500 007 2147483648",
        "parse 12 150 42",
        "report default 1 false",
        "report given 2 false",
        "array 5 15 0 9 y 2 0",
        "copied 4 1120 -1",
        "1 1 2 0",
        "1.50|2.25",
        "bytes 4 97 0 aé",
        "date 2026.11.24 21:30:15 2026.11.24 21:30 2026 11 2 true 1795555875 0 2100.01.01 00:00:00",
        "struct square 3 9 4",
        "class 51 Counter::Where",
        "input default 7 1.5 false 2026.01.02 03:04:00 true",
    ] {
        run.must_say(line);
    }
    assert_eq!(run.code(), Some(0));
}

/// Goal: files are kept in the sandbox, shared as on Windows, and global variables outlive the program.
#[test]
fn files_and_global_variables_are_the_terminals() {
    let sandbox = Sandbox::new("files");
    let run = sandbox.run(&program("Basics", false), "", &[]);
    for line in ["file 7 true -1 5004", "lines 2 first|second 2", "busy false", "moved true true false -1", "global 1"]
    {
        run.must_say(line);
    }
    assert_eq!(std::fs::read_to_string(sandbox.path().join("old.txt")).unwrap(), "first\r\nsecond 2\r\n");
    sandbox.run(&program("Basics", false), "", &[]).must_say("global 2");
}

/// Goal: inputs come from a file as MetaTrader writes it, and are known to what is made before `OnInit`.
#[test]
fn inputs_are_read_from_a_set_file() {
    let inputs =
        "; saved on 2026.11.24\r\nInpWord=a b\r\nInpNumber=0||0||1||10||N\r\nInpFlag=true\r\nInpSince=86400\r\n";
    let run = Sandbox::new("inputs").run(&program("Basics", false), inputs, &[]);
    run.must_say("input a b 0 1.5 true 1970.01.02 00:00:00 false");
}

/// Goal: a web request goes where the terminal's list lets it, with its headers and without a terminating zero.
#[test]
fn web_requests_are_those_of_the_terminal() {
    let url = web_server();
    let run = Sandbox::new("web").run(&program("Basics", false), &format!("InpUrl={url}\n"), &["--allow", &url]);
    run.must_say("request 200 POST /echo {\"a\":1} true 1 true");
    run.must_say("not allowed -1 4014");
    run.must_say("late -1 5202");
}
