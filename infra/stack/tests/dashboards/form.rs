//! The dashboards' form, which nothing but Grafana itself would look at.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::catalogue::documented;
use crate::observe::dashboards::{FILES, all, panels, questions};

/// What Prometheus makes by itself.
const OF_PROMETHEUS: [&str; 2] = ["up", "ALERTS"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../grafana").join(name)
}

/// The uids of the provisioned data sources.
fn sources() -> BTreeSet<String> {
    let text = std::fs::read_to_string(folder("provisioning/datasources/servers.yml")).unwrap();
    text.lines().filter_map(|line| line.trim().strip_prefix("uid: ")).map(str::to_owned).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Goal: Grafana shows every dashboard that there is as it is in the repository, to whoever comes, wherever he is.
#[test]
fn every_dashboard_is_read_only_and_has_a_uid_of_its_own() {
    let mut uids = BTreeSet::new();
    for (name, dashboard) in all() {
        let uid = text(&dashboard["uid"]).to_owned();
        assert!(
            (1..=40).contains(&uid.len()) && uids.insert(uid),
            "{name}: a uid of its own, of at most 40 characters"
        );
        let settings = ["editable", "refresh", "timezone", "schemaVersion"].map(|setting| &dashboard[setting]);
        assert_eq!(settings, [&json!(false), &json!("10s"), &json!("browser"), &json!(39)], "{name}");
        assert_eq!(dashboard["time"], json!({"from": "now-1h", "to": "now"}), "{name}");
        let links = dashboard["links"].as_array().unwrap();
        assert!(links.iter().any(|link| link["url"] == "/alerting/list"), "{name} leads to the alerts");
    }
    let files = std::fs::read_dir(folder("dashboards")).unwrap().map(|file| file.unwrap());
    let mut names = BTreeSet::new();
    for file in files {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o444, 0o444, "{file:?} can be read by Grafana, which is another user");
        names.insert(file.file_name().into_string().unwrap());
    }
    assert_eq!(names, FILES.iter().map(|(name, _)| format!("{name}.json")).collect(), "each file is tested");
}

/// Goal: whoever sees a panel for the first time at night knows what it tells, in which unit, and when to worry; and it
/// asks a data source that is provisioned.
#[test]
fn every_panel_says_what_it_tells_and_when_to_worry() {
    let sources = sources();
    assert!(sources.contains("prometheus"), "{sources:?}");
    for (name, dashboard) in all() {
        let mut ids = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{name}: two panels have the id {}", panel["id"]);
        }
        for panel in panels(&dashboard) {
            let (title, description) = (text(&panel["title"]), text(&panel["description"]));
            assert!(!title.is_empty(), "{name}: {panel}");
            let sentence = description.ends_with('.') && description.matches(". ").count() == 0;
            assert!(sentence, "{name}: {title}: one sentence: {description}");
            assert!(!text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(), "{name}: {title}: a unit");
            let targets = panel["targets"].as_array().unwrap();
            let letters: BTreeSet<_> = targets.iter().map(|target| text(&target["refId"])).collect();
            assert!(letters.len() == targets.len() && !targets.is_empty(), "{name}: {title}: a letter for each line");
            for asked in targets.iter().chain([panel]) {
                let source = text(&asked["datasource"]["uid"]);
                assert!(sources.contains(source), "{name}: {title}: the data source {source} is provisioned");
            }
            let told_apart = panel["type"] == "table"
                || targets.iter().all(|target| targets.len() == 1 || !text(&target["legendFormat"]).is_empty());
            assert!(told_apart, "{name}: {title}: lines have a legend");
        }
        assert_no_overlap(name, &dashboard);
    }
}

fn assert_no_overlap(name: &str, dashboard: &Value) {
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(w > 0 && h > 0 && x + w <= 24, "{name}: {}: within the grid", panel["title"]);
        let free = (x..x + w).all(|column| (y..y + h).all(|row| taken.insert((column, row))));
        assert!(free, "{name}: {} lies on another panel", panel["title"]);
    }
}

/// Goal: a panel shows what the README tells of and nothing else, and what is not there is not shown as a number.
#[test]
fn every_metric_of_a_panel_is_in_the_readme_and_none_is_made_up() {
    let documented = documented();
    for question in questions() {
        assert!(!question.expr.contains("vector("), "{}: {}", question.place, question.expr);
        let words = question.expr.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let metrics: Vec<_> = words
            .filter(|word| ["pipeline_", "bridge_", "process_"].iter().any(|first| word.starts_with(first)))
            .collect();
        for metric in &metrics {
            let part = |end| metric.strip_suffix(end).is_some_and(|name| documented.contains_key(name));
            let known = documented.contains_key(*metric) || ["_bucket", "_count", "_sum"].into_iter().any(part);
            assert!(known, "{}: {metric} is in the README", question.place);
        }
        let other = OF_PROMETHEUS.iter().any(|name| question.expr.starts_with(name));
        assert!(!metrics.is_empty() || other, "{}: {} has a metric", question.place, question.expr);
    }
}
