//! What the tests of keys do again and again.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _};
use stack::client::Client;

use crate::support::{Whole, eventually};

/// An endpoint of each service.
pub(super) const SERVICES: [(Method, &str); 3] =
    [(Method::POST, "/api/signal"), (Method::GET, "/api/signals/unresolved"), (Method::GET, "/api/account/stats")];

/// The id of an answer's key.
pub(super) fn id(key: &Value) -> &str {
    key["key_id"].as_str().expect("a key's id")
}

/// The text of an answer's key.
pub(super) fn text(key: &Value) -> &str {
    key["key"].as_str().expect("a key's text")
}

/// What a service makes of a key: whether it lets it in, for whatever it may do then.
pub(super) async fn lets_in(client: &Client, (method, path): (Method, &str)) -> bool {
    let (status, answer) = client.send(method, path, Some(&json!({}))).await.expect("an answer");
    let refused = answer["code"] == "key_wrong";
    assert!(!refused || status == 403, "{status} {answer}");
    !refused
}

impl Whole {
    /// Sends a request with the operator's key; status and answer.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        ask(&self.operator, method, path, body).await
    }

    /// Makes a key that must be made.
    pub(super) async fn make(&self, body: Value) -> Value {
        self.operator.post("/api/keys", &body).await.expect("a key")
    }

    /// Makes a key of these scopes for a principal of its own, and waits until every service knows it.
    pub(super) async fn client_with(&self, principal: &str, scopes: &[&str], more: Value) -> (Client, Value) {
        let mut body = json!({"principal": principal, "scopes": scopes});
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let key = self.make(body).await;
        let client = self.operator.with_key(text(&key));
        self.known(&client).await;
        (client, key)
    }

    /// Waits until every service lets this key in.
    pub(super) async fn known(&self, client: &Client) {
        for service in SERVICES {
            let known = || async { lets_in(client, service.clone()).await.then_some(()) };
            eventually("the key is known", known).await;
        }
    }

    /// Waits until no service lets this key in.
    pub(super) async fn ended(&self, client: &Client) {
        for service in SERVICES {
            let ended = || async { (!lets_in(client, service.clone()).await).then_some(()) };
            eventually("the key is refused", ended).await;
        }
    }

    /// A key as the list has it.
    pub(super) async fn listed(&self, key_id: &str) -> Value {
        let list = self.operator.get("/api/keys").await.expect("a list");
        let found = list.as_array().expect("a list").iter().find(|key| key["key_id"] == key_id);
        found.expect("the key is listed").clone()
    }

    /// A value from the database.
    pub(super) async fn value<T>(&self, query: &str) -> T
    where
        T: Send + Unpin + sqlx::Type<sqlx::Postgres> + for<'r> sqlx::Decode<'r, sqlx::Postgres>,
    {
        let mut database = self.sandbox.database().await.expect("a connection");
        let value = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut database).await.expect("a value");
        database.close().await.expect("it closes");
        value
    }

    /// The entries of the audit log on one key, by kind, in their order.
    pub(super) async fn audited(&self, key_id: &str) -> Vec<Value> {
        let query = format!(
            "select coalesce(json_agg(entry::json order by seq), '[]') from audit_log
             where service = 'dispatcher' and entry::json -> 'details' ->> 'key_id' = '{key_id}'"
        );
        let entries: Value = self.value(&query).await;
        entries.as_array().expect("a list").clone()
    }
}

/// One request; status and answer.
pub(super) async fn ask(client: &Client, method: Method, path: &str, body: Value) -> (u16, Value) {
    let body = Some(body).filter(|body| !body.is_null());
    let (status, answer) = client.send(method, path, body.as_ref()).await.expect("an answer");
    (status.as_u16(), answer)
}

/// One POST that must be refused; status and code.
pub(super) async fn refused(client: &Client, path: &str, body: Value) -> (u16, String) {
    let (status, answer) = ask(client, Method::POST, path, body.clone()).await;
    assert!(status >= 400, "{path} took {body}: {answer}");
    (status, answer["code"].as_str().expect("a code").to_owned())
}
