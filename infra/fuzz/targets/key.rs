//! API keys, as text and in headers: a key opens with exactly its own text.
#![no_main]

use common::auth::{ApiKey, AuthError, Identity, KeyRing, Scope};
use common::clock::Clock;
use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;

const OURS: &str = "mt5c_ours_0123456789abcdef0123456789abcdef";

fn identity() -> Identity {
    Identity { key_id: String::new(), principal: "p".to_owned(), scopes: vec![Scope::Read], account: None, user: None }
}

fuzz_target!(|data: &[u8]| {
    let ours = ApiKey::new(OURS, identity()).expect("a key");
    let ring = KeyRing::new(std::slice::from_ref(&ours), Clock::default());
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", value.clone());
    check(&ring, common::http::fuzz::key(&headers));
    headers.clear();
    headers.insert(header::AUTHORIZATION, value);
    check(&ring, common::http::fuzz::key(&headers));
});

fn check(ring: &KeyRing, key: Option<&str>) {
    match ring.identify(key) {
        Ok(identity) => {
            assert_eq!(key, Some(OURS));
            assert_eq!(identity.key_id, "ours");
        }
        Err(error) => {
            assert_ne!(key, Some(OURS));
            assert_eq!(error == AuthError::Missing, key.is_none());
        }
    }
    let Some(key) = key else { return };
    let Ok(parsed) = ApiKey::new(key, identity()) else { return };
    assert!(!parsed.identity.key_id.is_empty());
    let ring = KeyRing::new(&[parsed], Clock::default());
    assert!(ring.identify(Some(key)).is_ok());
    assert!(ring.identify(Some(&format!("{key}0"))).is_err());
    assert!(ring.identify(Some(&key[..key.len() - 1])).is_err());
}
