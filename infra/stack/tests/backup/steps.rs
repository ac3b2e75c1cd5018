//! What the tests of backups do again and again.

use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, PgConnection};
use stack::sandbox::Sandbox;

use crate::support::servers;

/// Runs a program of this platform's folder `infra` on a database; its exit code and what it wrote.
pub(super) async fn run(program: &str, file: &Path, database_url: &str) -> (i32, String) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(program);
    let mut command = tokio::process::Command::new(path);
    command.arg(file).env("DATABASE_URL", database_url).env("STACK", env!("CARGO_BIN_EXE_stack"));
    told(command.output().await.unwrap())
}

/// Runs `stack` on a database; its exit code and what it wrote.
pub(super) async fn stack(arguments: &[&str], database_url: &str) -> (i32, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_stack"));
    told(command.args(arguments).env_clear().env("DATABASE_URL", database_url).output().await.unwrap())
}

fn told(output: std::process::Output) -> (i32, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout) + &text(output.stderr))
}

/// An empty database with queues of its own, for the platform whose keys these are.
pub(super) async fn empty(of: &Sandbox) -> Sandbox {
    let (database_url, amqp_url) = servers();
    let mut sandbox = Sandbox::create(&database_url, &amqp_url, &[]).await.expect("a sandbox");
    sandbox.keys = of.keys.clone();
    sandbox.terminals.clone_from(&of.terminals);
    sandbox.settings.keys.clone_from(&of.settings.keys);
    sandbox
}

/// All rows of a query, each as JSON.
pub(super) async fn rows(db: &mut PgConnection, query: &str) -> Vec<String> {
    let all = format!("select to_json(r)::text from ({query}) as r");
    sqlx::query_scalar(AssertSqlSafe(all)).fetch_all(db).await.expect(query)
}

pub(super) async fn number(db: &mut PgConnection, query: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(db).await.expect(query)
}
