//! A Wine prefix with the stand-in for MetaQuotes' programs in it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// Where the terminal is in a prefix.
pub(crate) const TERMINAL_FOLDER: &str = "drive_c/Program Files/MetaTrader 5";

/// The stand-in for MetaQuotes' programs, compiled once for each version of its source.
pub(crate) async fn standin() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bridge/standin.c");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("standin.exe");
    let changed = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    if changed(&program) < changed(&source) {
        // Whole or not at all, also where the test is killed meanwhile.
        let new = program.with_extension("new");
        let mut compiler = Command::new("x86_64-w64-mingw32-gcc");
        compiler.args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&new).arg(&source);
        let status = compiler.args(["-mwindows", "-lwinhttp"]).status().await.expect("mingw is installed");
        assert!(status.success(), "the stand-in compiles");
        std::fs::rename(new, &program).expect("its place");
    }
    program
}

/// A copy of a fresh prefix with the stand-in installed; the prefix itself is made by the first test that wants one.
pub(crate) async fn copy_prefix(to: &Path) {
    let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wine-prefix");
    if !fresh.join("complete").is_file() {
        let _ = std::fs::remove_dir_all(&fresh);
        for (program, argument) in [("wineboot", "--init"), ("wineserver", "-w")] {
            let mut wine = Command::new(program);
            wine.arg(argument).env_remove("DISPLAY").env("WINEPREFIX", &fresh).env("WINEARCH", "win64");
            wine.env("WINEDEBUG", "-all").env("WINEDLLOVERRIDES", "mscoree=d;mshtml=d").stdout(Stdio::null());
            assert!(wine.status().await.expect("Wine is installed").success(), "{program}");
        }
        std::fs::write(fresh.join("complete"), "").expect("a mark");
    }
    std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    let copied = Command::new("cp").arg("-a").arg(&fresh).arg(to).status().await;
    assert!(copied.is_ok_and(|status| status.success()), "the prefix is copied");
    let folder = to.join(TERMINAL_FOLDER);
    std::fs::create_dir_all(&folder).expect("a folder");
    for program in ["terminal64.exe", "metaeditor64.exe"] {
        std::fs::copy(standin().await, folder.join(program)).expect("the stand-in");
    }
}
