//! Takes signals in.

fn main() -> std::process::ExitCode {
    common::service::main(ingest::start)
}
