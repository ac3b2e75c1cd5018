//! Rebuilds when a migration is added: the schema is compiled in.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
