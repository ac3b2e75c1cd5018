//! Which keys a key may make, rotate and revoke: none that may more than it may itself.

pub(crate) mod change;

use common::auth::{Identity, Scope};
use time::{Duration, OffsetDateTime};

/// Keys of the API that one principal may have live at once: the one in use, and the one it is rotated to.
pub(crate) const LIVE_MAX: usize = 2;
/// How long a rotated key goes on by default.
pub(crate) const OVERLAP: Duration = Duration::days(1);
/// How long it may be asked to.
pub(crate) const OVERLAP_MAX: Duration = Duration::days(30);
/// How long a key may be asked to live, if not for ever.
pub(crate) const TTL_MAX: Duration = Duration::days(3_650);

/// What that key may do and this one may not; none: this one may make it, rotate it and revoke it.
///
/// Two scopes reach further than what their key is bound to, here as elsewhere: `operate` governs every account, so its
/// holder may bind a terminal's key to any, and `read` shows every member, so its holder may make any member's key.
pub(crate) fn excess(own: &Identity, other: &Identity) -> Option<String> {
    let may = |scope| own.scopes.contains(&scope);
    let held = |scope: &Scope| may(*scope) || (*scope == Scope::Member && may(Scope::Read));
    if let Some(scope) = other.scopes.iter().find(|scope| !held(scope)) {
        return Some(format!("the scope {}, which this key lacks", scope.as_str()));
    }
    if let Some(account) = other.account.as_ref().filter(|_| other.account != own.account && !may(Scope::Operate)) {
        return Some(format!("account {account}, which this key is not bound to; the scope operate lifts that"));
    }
    let user = other.user.as_ref().filter(|_| other.user != own.user && !may(Scope::Read));
    user.map(|user| format!("member {user}, which this key is not bound to; the scope read lifts that"))
}

/// Whether a key that ends then would outlive the one that makes it.
pub(crate) fn outlives(own: Option<OffsetDateTime>, other: Option<OffsetDateTime>) -> bool {
    own.is_some_and(|own| other.is_none_or(|other| other > own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(scopes: &[Scope], account: Option<&str>, user: Option<&str>) -> Identity {
        Identity {
            key_id: "k".into(),
            principal: "p".into(),
            scopes: scopes.to_vec(),
            account: account.map(|account| account.parse().unwrap()),
            user: user.map(|user| user.parse().unwrap()),
        }
    }

    /// Goal: no scope and no binding is won by way of another key.
    #[test]
    fn a_key_makes_none_that_may_more_than_itself() {
        use Scope::{KeysWrite, Member, Operate, Read, SignalsWrite, Terminal};
        let operator = key(&Scope::ALL, Some("main"), None);
        let terminals = key(&[KeysWrite, Terminal], Some("main"), None);
        let readers = key(&[KeysWrite, Read], None, None);
        let member = key(&[KeysWrite, Member], None, Some("anna"));
        let cases = [
            (&operator, key(&Scope::ALL, Some("main"), None), true),
            (&operator, key(&[Terminal], Some("second"), None), true),
            (&operator, key(&[Member], None, Some("anna")), true),
            (&terminals, key(&[Terminal], Some("main"), None), true),
            (&terminals, key(&[KeysWrite], None, None), true),
            (&terminals, key(&[Terminal], Some("second"), None), false),
            (&terminals, key(&[SignalsWrite], None, None), false),
            (&terminals, key(&[Terminal, Operate], Some("main"), None), false),
            (&terminals, key(&[Member], None, Some("anna")), false),
            (&readers, key(&[Member], None, Some("anna")), true),
            (&readers, key(&[Read, Terminal], Some("main"), None), false),
            (&member, key(&[Member], None, Some("anna")), true),
            (&member, key(&[Member], None, Some("ben")), false),
            (&member, key(&[Read], None, None), false),
        ];
        for (own, other, allowed) in cases {
            assert_eq!(excess(own, &other).is_none(), allowed, "{own:?} makes {other:?}");
        }
    }

    /// Goal: a key for a while makes none for longer.
    #[test]
    fn a_key_makes_none_that_outlives_it() {
        let at = |seconds| Some(OffsetDateTime::UNIX_EPOCH + Duration::seconds(seconds));
        let cases = [
            (None, None, false),
            (None, at(9), false),
            (at(5), None, true),
            (at(5), at(6), true),
            (at(5), at(5), false),
        ];
        for (own, other, expected) in cases {
            assert_eq!(outlives(own, other), expected, "{own:?} {other:?}");
        }
    }
}
