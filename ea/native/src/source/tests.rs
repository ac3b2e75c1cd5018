use std::path::PathBuf;

use super::Source;

/// Files in a folder of their own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &[u8])]) -> Self {
        let folder = std::env::temp_dir().join(format!("ea-native-{name}-{}", std::process::id()));
        for (file, content) in files {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        Self(folder)
    }

    fn read(&self) -> Result<String, Vec<String>> {
        let read = Source::read(&self.0.join("main.mq5"), &self.0.join("include"));
        read.map(|source| {
            source.tokens.iter().filter(|token| token.is_code()).map(|token| token.text.clone() + " ").collect()
        })
        .map_err(|findings| findings.iter().map(ToString::to_string).collect())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Goal: both kinds of inclusion are followed, a guard keeps a file from coming twice, and every file keeps its name.
#[test]
fn inclusions_are_followed_once() {
    let folder = Folder::new(
        "include",
        &[
            ("main.mq5", b"#include <A\\One.mqh>\n#include \"Two.mqh\"\n#include <A\\One.mqh>\nint m;"),
            ("include/A/One.mqh", b"#ifndef ONE\n#define ONE\nint one;\n#endif\n"),
            ("Two.mqh", b"int two;"),
        ],
    );
    assert_eq!(folder.read().unwrap(), "int one ; int two ; int m ; ");
}

/// Goal: only the branch that holds is part of the program.
#[test]
fn conditions_are_decided() {
    let text = b"#ifdef __MQL5__\nint a;\n#else\nint b;\n#endif\n#ifdef X\nint c;\n#ifdef Y\nint d;\n#endif\n#else\nint e;\n#endif";
    assert_eq!(Folder::new("condition", &[("main.mq5", text)]).read().unwrap(), "int a ; int e ; ");
}

/// Goal: sources are read in the encodings that the editor writes.
#[test]
fn utf_16_and_utf_8_are_read() {
    let mut utf16 = vec![0xFF, 0xFE];
    utf16.extend("int é;".encode_utf16().flat_map(u16::to_le_bytes));
    assert_eq!(Folder::new("utf16", &[("main.mq5", &utf16)]).read().unwrap(), "int é ; ");
    assert_eq!(Folder::new("utf8", &[("main.mq5", b"\xEF\xBB\xBFint x;")]).read().unwrap(), "int x ; ");
}

/// Goal: what the preprocessor can't do here is refused with its line.
#[test]
fn what_makes_no_sense_is_refused() {
    for (text, said) in [
        ("int x;\n#include <Missing.mqh>", "main.mq5:2: "),
        ("#import \"user32.dll\"", "#import can't be run natively"),
        ("#define A 1\n#define A 2", ":2: A is defined twice"),
        ("#define A 1\n#undef A", "#undef A"),
        ("#include \"main.mq5\"", "included without end"),
    ] {
        let findings = Folder::new("refused", &[("main.mq5", text.as_bytes())]).read().unwrap_err();
        assert!(findings[0].contains(said), "{findings:?}");
    }
}
