//! The metrics as the README lists them, and as a process tells them.
#![allow(unreachable_pub, dead_code, reason = "a module of test binaries, of the bridge's too")]

use std::collections::{BTreeMap, BTreeSet};

const README: &str = include_str!("../../../../README.md");

/// What all series of a metric have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// The names of its labels; `le` of histograms is none of them.
    pub labels: BTreeSet<String>,
}

/// The rows of the README's table by the metric's name.
pub fn documented() -> BTreeMap<String, Family> {
    let section = README.split("\n### ").find_map(|section| section.strip_prefix("Metrics\n")).expect("a section");
    let rows = section.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        let name = cells.next()?.trim_matches('`').to_owned();
        let kind = cells.next().filter(|kind| ["counter", "gauge", "histogram"].contains(kind))?.to_owned();
        let labels = cells.next()?.split(',').map(|label| label.trim().trim_matches('`').to_owned());
        Some((name, Family { kind, labels: labels.filter(|label| !label.is_empty()).collect() }))
    });
    let listed: Vec<_> = rows.collect();
    let count = listed.len();
    let table: BTreeMap<_, _> = listed.into_iter().collect();
    assert_eq!(table.len(), count, "a metric has two rows");
    table
}

/// What `/metrics` answered, by the metric's name. Panics where the series of one have different labels.
pub fn told(text: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::new();
    let (mut name, mut kind) = ("", "");
    for line in text.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            (name, kind) = declared.split_once(' ').expect("a name and a type");
        } else if !line.is_empty() && !line.starts_with('#') {
            let labels: BTreeSet<String> = labels(line).filter(|label| label != "le").collect();
            let family = Family { kind: kind.to_owned(), labels };
            let first: &Family = families.entry(name.to_owned()).or_insert_with(|| family.clone());
            assert!(line.starts_with(name) && *first == family, "{line}, among {first:?} of {name}");
        }
    }
    families
}

/// Every series that `/metrics` answered, without its value.
pub fn series(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').expect("a value").0.to_owned()).collect()
}

/// The names of a series' labels.
fn labels(line: &str) -> impl Iterator<Item = String> {
    // A route has braces of its own.
    let inner = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(inner, _)| inner);
    inner.split("\",").filter_map(|label| Some(label.split_once('=')?.0.to_owned()))
}

/// How these differ, in words for a failing test.
pub fn differences(documented: &BTreeMap<String, Family>, told: &BTreeMap<String, Family>) -> Vec<String> {
    let names: BTreeSet<&String> = documented.keys().chain(told.keys()).collect();
    let differ = |name: &&String| documented.get(*name) != told.get(*name);
    let say = |name: &String| format!("{name}: README {:?}, told {:?}", documented.get(name), told.get(name));
    names.into_iter().filter(differ).map(say).collect()
}
