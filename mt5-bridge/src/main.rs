//! Keeps the terminal running and relays its requests.

fn main() -> std::process::ExitCode {
    mt5_bridge::main()
}
