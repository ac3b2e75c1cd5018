//! Keeps the pool and the members' shares.

fn main() -> std::process::ExitCode {
    common::service::main(distributor::start)
}
