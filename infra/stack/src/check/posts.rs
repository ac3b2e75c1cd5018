//! What senders were told, against what is stored and what the market did.

use std::collections::{BTreeMap, HashMap, HashSet};

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::history::{Broken, Found, History, Signal};
use super::life::Openings;
use super::log::{Post, Told};

pub(super) fn judge(history: &History, openings: &Openings<'_>, found: &mut Found) {
    let rows: HashMap<Uuid, &Signal> = history.signals.iter().map(|signal| (signal.signal_id, signal)).collect();
    let mut keyed: BTreeMap<&str, Vec<&Post>> = BTreeMap::new();
    let mut keyless = Vec::new();
    for post in &history.posts {
        match &post.key {
            Some(key) => keyed.entry(key).or_default().push(post),
            None => keyless.push(post),
        }
        if post.told() == Told::Accepted && post.accepted().is_none_or(|id| !rows.contains_key(&id)) {
            let id = post.accepted().map_or("no id".to_owned(), |id| id.to_string());
            found.add(Broken::SignalLost, "answered 2xx, and not stored", [post.name.clone(), id]);
        }
    }
    let mut stored: HashMap<Option<&str>, Vec<&Signal>> = HashMap::new();
    for signal in &history.signals {
        stored.entry(signal.idempotency_key.as_deref()).or_default().push(signal);
    }
    for (key, posts) in &keyed {
        one_key(key, posts, &stored.remove(&Some(*key)).unwrap_or_default(), openings, found);
    }
    without_key(&keyless, &stored.remove(&None).unwrap_or_default(), found);
    for signal in stored.into_values().flatten() {
        found.add(Broken::SignalOfNobody, "stored under a key that nobody used", [signal.signal_id]);
    }
    numbered(&history.posts, &rows, found);
}

/// All posts under one key, and all that is stored under it.
fn one_key(key: &str, posts: &[&Post], stored: &[&Signal], openings: &Openings<'_>, found: &mut Found) {
    let mut contents: BTreeMap<String, Uuid> = BTreeMap::new();
    for (post, id) in posts.iter().filter_map(|post| Some((post, post.accepted()?))) {
        let first = *contents.entry(post.body.to_string()).or_insert(id);
        if first != id {
            let what = format!("key {key} was answered with another id for the same content");
            found.add(Broken::AnotherId, what, [first, id]);
        }
    }
    let told: HashSet<Uuid> = posts.iter().filter_map(|post| post.accepted()).collect();
    let untold: Vec<&Signal> = stored.iter().copied().filter(|signal| !told.contains(&signal.signal_id)).collect();
    let ids = || untold.iter().map(|signal| signal.signal_id);
    let unknown = posts.iter().any(|post| post.told() == Told::Unknown);
    if !untold.is_empty() && !unknown {
        let refused = posts.iter().any(|post| post.told() == Told::Refused);
        let (promise, what) = if refused {
            (Broken::RefusedTraded, format!("key {key} was refused with 4xx, and the signal was taken"))
        } else {
            (Broken::SignalOfNobody, format!("a signal under key {key} whose id nobody was given"))
        };
        found.add(promise, what, ids());
    }
    let opened: usize = untold.iter().map(|signal| openings.of(signal.id).len()).sum();
    if unknown && opened > 1 {
        let what = format!("key {key} had no answer, or an unknown outcome, and opened {opened} times");
        found.add(Broken::UnansweredTwice, what, ids());
    }
    for signal in stored.iter().filter(|signal| signal.opens()) {
        let own: Vec<&Post> = posts.iter().copied().filter(|post| is_of(post, signal)).collect();
        let Some(expiry) = expiry(&own) else { continue };
        for order in openings.late(signal.id, expiry) {
            let what = format!("by its sender's own words signal {} had expired at {expiry}", signal.id);
            found.add(Broken::OpenedLate, what, [signal.signal_id.to_string(), format!("order {}", order.ticket)]);
        }
    }
}

/// Names beside each signal the posts that may be it: of one whose id nobody was told nothing else says whose it is.
pub(super) fn name(history: &History, found: &mut Found) {
    let signals: HashMap<String, &Signal> =
        history.signals.iter().map(|signal| (signal.signal_id.to_string(), signal)).collect();
    for violation in &mut found.0 {
        let named: Vec<&Signal> = violation.ids.iter().filter_map(|id| signals.get(id).copied()).collect();
        let is_own = |post: &Post, signal: &Signal| post.key == signal.idempotency_key && is_of(post, signal);
        let own = history.posts.iter().filter(|post| named.iter().any(|signal| is_own(post, signal)));
        violation.ids.extend(own.filter(|post| post.key.is_some()).map(|post| post.name.clone()));
    }
}

/// Whether a post may be what is stored as this signal.
fn is_of(post: &Post, signal: &Signal) -> bool {
    match post.told() {
        Told::Accepted => post.accepted() == Some(signal.signal_id),
        Told::Refused => false,
        Told::Unknown => true,
    }
}

/// The latest time at which a signal of these posts can still have been alive; none where they do not say. The first that
/// arrived counts, and the sender does not know which that was.
fn expiry(posts: &[&Post]) -> Option<OffsetDateTime> {
    let each = posts.iter().map(|post| {
        let until = post.body["expires_at"].as_str().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        let lives = post.body["ttl_seconds"].to_string().parse().ok().map(Duration::seconds);
        // What was answered at all had been received; the rest may still have waited in a socket.
        let received_by = post.answer.as_ref().filter(|answer| answer.status.is_some()).map(|answer| answer.at);
        let by_life = lives.zip(received_by).map(|(lives, at)| at + lives);
        match (until, by_life) {
            (Some(until), Some(by_life)) => Some(until.min(by_life)),
            (until, by_life) => until.or(by_life),
        }
    });
    // One that sets no bound may be the one that counts.
    each.collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// Without a key only the answered id says what became of a post: each of the rest needs a post without an answer.
fn without_key(posts: &[&Post], stored: &[&Signal], found: &mut Found) {
    let told: HashSet<Uuid> = posts.iter().filter_map(|post| post.accepted()).collect();
    let mut unknown: BTreeMap<(String, String), usize> = BTreeMap::new();
    for post in posts.iter().filter(|post| post.told() == Told::Unknown) {
        let text = |name: &str| post.body[name].as_str().unwrap_or_default().to_uppercase();
        *unknown.entry((text("symbol"), text("action"))).or_default() += 1;
    }
    for signal in stored.iter().filter(|signal| !told.contains(&signal.signal_id)) {
        let of = (signal.symbol.clone().unwrap_or_default().to_uppercase(), signal.action.clone());
        match unknown.get_mut(&of).filter(|left| **left > 0) {
            Some(left) => *left -= 1,
            None => found.add(Broken::SignalOfNobody, "no post without a key can have caused it", [signal.signal_id]),
        }
    }
}

/// Of two signals of a symbol, one answered before the other was first sent, the first has the lower number.
fn numbered(posts: &[Post], rows: &HashMap<Uuid, &Signal>, found: &mut Found) {
    /// When an id was first sent (by any post of its key), and first answered.
    struct Times<'a> {
        signal: &'a Signal,
        sent: OffsetDateTime,
        answered: OffsetDateTime,
    }
    let mut first_sent: HashMap<&str, OffsetDateTime> = HashMap::new();
    for (post, key) in posts.iter().filter_map(|post| Some((post, post.key.as_deref()?))) {
        let sent = first_sent.entry(key).or_insert(post.sent_at);
        *sent = post.sent_at.min(*sent);
    }
    let mut accepted: HashMap<Uuid, Times<'_>> = HashMap::new();
    for post in posts {
        let Some((signal, answer)) = post.accepted().and_then(|id| rows.get(&id)).zip(post.answer.as_ref()) else {
            continue;
        };
        let sent = post.key.as_deref().and_then(|key| first_sent.get(key).copied()).unwrap_or(post.sent_at);
        let times = accepted.entry(signal.signal_id).or_insert(Times { signal, sent, answered: answer.at });
        times.answered = times.answered.min(answer.at);
        times.sent = times.sent.min(sent);
    }
    let mut symbols: BTreeMap<(&str, Option<&str>), Vec<Times<'_>>> = BTreeMap::new();
    for times in accepted.into_values() {
        symbols.entry((&times.signal.account, times.signal.symbol.as_deref())).or_default().push(times);
    }
    for mut all in symbols.into_values() {
        all.sort_by_key(|times| std::cmp::Reverse(times.signal.id));
        // Of those with a higher number, the one that was answered first.
        let mut earliest: Option<&Times<'_>> = None;
        for times in &all {
            if let Some(higher) = earliest.filter(|higher| higher.answered < times.sent) {
                let what = format!("signal {} was answered before {} was sent", higher.signal.id, times.signal.id);
                found.add(Broken::NumberedOutOfOrder, what, [higher.signal.signal_id, times.signal.signal_id]);
            }
            if earliest.is_none_or(|earliest| times.answered < earliest.answered) {
                earliest = Some(times);
            }
        }
    }
}
