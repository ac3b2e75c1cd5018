//! Keys as text, and what a ring says of them.

use super::*;

fn identity() -> Identity {
    let account = Some(AccountName::main());
    Identity { key_id: String::new(), principal: "p".into(), scopes: vec![Scope::Read], account, user: None }
}

#[test]
fn a_key_opens_only_with_its_own_secret() {
    let (one, two) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
    let ring = KeyRing::new(&[ApiKey::new(&one, identity()).unwrap()], Clock::default());
    assert!(ring.identify(Some(&one)).is_ok());
    assert_eq!(ring.identify(None).unwrap_err(), AuthError::Missing);
    assert_eq!(ring.identify(Some(&two)).unwrap_err(), AuthError::NotYetKnown);
    let forged = format!("{}x", &one[..one.len() - 1]);
    assert_eq!(ring.identify(Some(&forged)).unwrap_err(), AuthError::Wrong);
    ring.replace(ring.look(), Vec::new(), HashSet::new());
    assert_eq!(ring.identify(Some(&two)).unwrap_err(), AuthError::Wrong);
    assert!(ring.identify(Some(&one)).is_ok());
}

#[test]
fn an_expired_key_opens_nothing() {
    let clock = Clock::default();
    let text = ApiKey::generate().unwrap();
    let mut key = ApiKey::new(&text, identity()).unwrap();
    key.expires_at = Some(clock.now() + time::Duration::minutes(1));
    let ring = KeyRing::new(&[key], clock.clone());
    assert!(ring.identify(Some(&text)).is_ok());
    clock.advance(time::Duration::minutes(2));
    assert_eq!(ring.identify(Some(&text)).unwrap_err(), AuthError::Wrong);
}

/// Goal: who was let in is known until his key ends, by time or by the table.
#[test]
fn a_key_that_ended_is_not_known_any_more() {
    let clock = Clock::default();
    let key = |minutes| {
        let key = ApiKey::new(&ApiKey::generate().unwrap(), identity()).unwrap();
        ApiKey { expires_at: Some(clock.now() + time::Duration::minutes(minutes)), ..key }
    };
    let (short, long) = (key(1), key(10));
    let ring = KeyRing::new(&[], clock.clone());
    assert!(!ring.knows(&long.identity));
    ring.replace(ring.look(), vec![short.clone(), long.clone()], HashSet::new());
    assert!(ring.knows(&short.identity) && ring.knows(&long.identity));
    clock.advance(time::Duration::minutes(2));
    assert!(!ring.knows(&short.identity) && ring.knows(&long.identity));
    let narrower = Identity { scopes: Vec::new(), ..(*long.identity).clone() };
    ring.replace(ring.look(), vec![ApiKey { identity: narrower.into(), ..long.clone() }], HashSet::new());
    assert!(!ring.knows(&long.identity), "it may do something else now");
    ring.replace(ring.look(), Vec::new(), HashSet::new());
    assert!(!ring.knows(&long.identity));
}

/// Goal: an account has a terminal while a terminal's key that counts is bound to it: of the environment or the table,
/// neither ended nor revoked.
#[test]
fn an_account_is_one_while_a_terminals_key_is_alive() {
    let clock = Clock::default();
    let key = |account: &str, scope, minutes| {
        let account = Some(account.parse().unwrap());
        let identity = Identity { scopes: vec![scope], account, ..identity() };
        let key = ApiKey::new(&ApiKey::generate().unwrap(), identity).unwrap();
        ApiKey { expires_at: Some(clock.now() + time::Duration::minutes(minutes)), ..key }
    };
    let names = |ring: &KeyRing| ring.accounts().iter().map(ToString::to_string).collect::<Vec<_>>();
    let revoked = key("revoked", Scope::Terminal, 10);
    let ring = KeyRing::new(&[key("a", Scope::Terminal, 10), revoked.clone()], clock.clone());
    assert_eq!(names(&ring), ["a", "revoked"]);
    let table = vec![
        key("b", Scope::Terminal, 10),
        key("a", Scope::Terminal, 10),
        key("short", Scope::Terminal, 1),
        key("reader", Scope::Read, 10),
    ];
    ring.replace(ring.look(), table, HashSet::from([revoked.identity.key_id.clone()]));
    assert_eq!(names(&ring), ["a", "b", "short"]);
    clock.advance(time::Duration::minutes(2));
    assert_eq!(names(&ring), ["a", "b"]);
}

/// Goal: a key that was revoked opens nothing, wherever it is still in the environment.
#[test]
fn a_revoked_key_of_the_environment_opens_nothing() {
    let (one, two) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
    let key = |text| ApiKey::new(text, identity()).unwrap();
    let ring = KeyRing::new(&[key(&one), key(&two)], Clock::default());
    let revoked = HashSet::from([key(&one).identity.key_id.clone()]);
    ring.replace(ring.look(), Vec::new(), revoked);
    assert_eq!(ring.identify(Some(&one)).unwrap_err(), AuthError::Wrong);
    assert!(!ring.knows(&key(&one).identity) && ring.identify(Some(&two)).is_ok());
}

#[test]
fn short_secrets_are_refused() {
    assert!(ApiKey::new("mt5c_a_short", identity()).is_err());
    assert!(ApiKey::new("password", identity()).is_err());
    let long = "mt5c_a_".to_owned() + &"x".repeat(40);
    assert!(ApiKey::new(&long, identity()).is_ok());
    assert!(ApiKey::new(&format!("{long} x"), identity()).is_err(), "no header carries it");
    assert!(ApiKey::new(&format!("{long}ä"), identity()).is_err(), "no header carries it");
}

/// Goal: a new key that was mistyped or cut is told from a good one without a database.
#[test]
fn a_new_key_ends_in_the_checksum_of_the_rest() {
    // As gzip reckons it: printf %s TEXT | gzip -c | tail -c 8 | od -An -tx4 -N4
    assert_eq!(checksum("123456789"), "cbf43926");
    let text = ApiKey::generate().unwrap();
    assert_eq!((text.len(), &text[..5], &text[21..22], &text[86..87]), (95, "mt5c_", "_", "_"));
    assert!(ApiKey::new(&text, identity()).is_ok());
    for place in (5..21).chain(22..86).chain(87..95) {
        let other = if &text[place..=place] == "0" { "1" } else { "0" };
        let mistyped = format!("{}{other}{}", &text[..place], &text[place + 1..]);
        assert!(ApiKey::new(&mistyped, identity()).is_err(), "{place}");
    }
    assert!(ApiKey::new(&text[..94], identity()).is_err(), "cut");
    assert!(ApiKey::new(&format!("{text}0"), identity()).is_err(), "too long");
}

/// Goal: keys without a checksum go on working: those made before there was one, and those that people chose.
#[test]
fn keys_without_a_checksum_stay_valid() {
    let before = &ApiKey::generate().unwrap()[..86];
    let own = ["mt5c_ops_A-secret_of_its_own-with_more-than-32_characters_0badc0de", before];
    for text in own {
        let ring = KeyRing::new(&[ApiKey::new(text, identity()).unwrap()], Clock::default());
        assert!(ring.identify(Some(text)).is_ok(), "{text}");
    }
}

/// Goal: a look at the table that took long does not undo what a later one found: a key that was revoked meanwhile stays so,
/// and one that was made stays known.
#[test]
fn a_slow_look_does_not_undo_what_a_later_one_found() {
    let texts = [(); 2].map(|()| ApiKey::generate().unwrap());
    let [old, new] = [0, 1].map(|which| ApiKey::new(&texts[which], identity()).unwrap());
    let ring = KeyRing::new(&[], Clock::default());
    let slow = ring.look();
    ring.replace(ring.look(), vec![new], HashSet::from([old.identity.key_id.clone()]));
    ring.replace(slow, vec![old], HashSet::new());
    assert_eq!(ring.identify(Some(&texts[0])).unwrap_err(), AuthError::Wrong);
    assert!(ring.identify(Some(&texts[1])).is_ok());
}
