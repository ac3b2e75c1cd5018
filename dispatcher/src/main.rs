//! Hands signals to terminals and takes their reports.

fn main() -> std::process::ExitCode {
    common::service::main(dispatcher::start)
}
