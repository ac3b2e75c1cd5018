//! Grafana's dashboards as they are in the repository, and what their panels ask.

use serde_json::Value;

use super::{Prometheus, RATE_INTERVAL, Window};

/// The dashboards by the names of their files.
pub const FILES: [(&str, &str); 4] = [
    ("pipeline", include_str!("../../../grafana/dashboards/pipeline.json")),
    ("trading", include_str!("../../../grafana/dashboards/trading.json")),
    ("money", include_str!("../../../grafana/dashboards/money.json")),
    ("infrastructure", include_str!("../../../grafana/dashboards/infrastructure.json")),
];

/// What one line of a panel asks.
pub struct Question {
    /// Dashboard, panel and line, for a failing test.
    pub place: String,
    /// As the file has it.
    pub expr: String,
}

impl Question {
    /// As Grafana asks it, with this account chosen.
    pub fn asked(&self) -> String {
        let expr = self.expr.replace("$__rate_interval", RATE_INTERVAL).replace("$account", "main");
        assert!(!expr.contains('$'), "{}: {expr} has a variable that nobody fills in", self.place);
        expr
    }

    /// Whether it is about the terminal's container.
    pub fn is_of_bridge(&self) -> bool {
        self.expr.contains("bridge_")
    }
}

/// All dashboards, with the names of their files.
pub fn all() -> Vec<(&'static str, Value)> {
    let parse = |(name, text)| (name, serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}")));
    FILES.into_iter().map(parse).collect()
}

/// The panels of a dashboard that show something: all but headings.
pub fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    panels.filter(|panel| panel["type"] != "row").collect()
}

/// What the lines of all panels of all dashboards ask.
pub fn questions() -> Vec<Question> {
    let mut questions = Vec::new();
    for (name, dashboard) in all() {
        for panel in panels(&dashboard) {
            for target in panel["targets"].as_array().expect("targets") {
                let text = |value: &Value| value.as_str().expect("a text").to_owned();
                let place = format!("{name}: {} {}", text(&panel["title"]), text(&target["refId"]));
                questions.push(Question { place, expr: text(&target["expr"]) });
            }
        }
    }
    questions
}

/// Asks all of these, when nothing happened and when much did; what is wrong, in words for a failing test. Each must have
/// numbers under load, and others than before.
pub async fn differences(prometheus: &Prometheus, questions: &[Question], idle: Window, load: Window) -> Vec<String> {
    let mut wrong = Vec::new();
    for question in questions {
        let expr = question.asked();
        let before = prometheus.points(&expr, idle).await;
        let after = prometheus.points(&expr, load).await;
        if after.is_empty() {
            wrong.push(format!("{}: no data under load: {expr}", question.place));
        } else if after.is_subset(&before) {
            wrong.push(format!("{}: the same data as before the load: {expr}: {after:?}", question.place));
        }
    }
    wrong
}
