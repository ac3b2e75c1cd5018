//! The blueprint for Render against what the programs read. Render itself can't be asked here.
#![expect(clippy::unwrap_used, reason = "what several tests share may panic like a test")]

use std::collections::BTreeMap;
use std::path::Path;

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

/// The variables of each service of the blueprint, by its type, with the line that follows each.
fn variables() -> BTreeMap<String, Vec<(String, String)>> {
    let blueprint = file("infra/render/render.yaml");
    let (mut services, mut service) = (BTreeMap::<String, Vec<_>>::new(), String::new());
    let mut lines = blueprint.lines().map(str::trim).peekable();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("- type: ") {
            kind.clone_into(&mut service);
        } else if let Some(name) = line.strip_prefix("- key: ") {
            let source = lines.peek().unwrap().to_string();
            services.entry(service.clone()).or_default().push((name.to_owned(), source));
        }
    }
    services
}

/// Goal: every variable that the blueprint sets is a setting that the README of its program describes, and Render's port is
/// the one on which the images listen.
#[test]
fn every_variable_of_the_blueprint_is_a_setting_of_its_program() {
    let documents =
        [("web", "README.md", "infra/docker/Dockerfile"), ("pserv", "mt5-bridge/README.md", "mt5-bridge/Dockerfile")];
    let services = variables();
    assert_eq!(services.keys().map(String::as_str).collect::<Vec<_>>(), ["pserv", "web"]);
    for (kind, readme, image) in documents {
        let (rows, image, start) = (file(readme), file(image), file("infra/render/start-bridge"));
        let rows: Vec<&str> = rows.lines().filter(|line| line.starts_with("| `")).collect();
        for (name, source) in &services[kind] {
            let described = rows.iter().any(|row| row.split('|').nth(1).unwrap().contains(&format!("`{name}`")));
            match name.as_str() {
                "PORT" => {
                    let port = source.trim_start_matches("value: ").trim_matches('"');
                    assert!(image.contains(&format!("HTTP_ADDR=0.0.0.0:{port} ")), "the image listens on {port}");
                }
                "DISPATCHER_HOSTPORT" => assert!(start.contains(name.as_str()), "{name} is read"),
                _ => assert!(described, "{name} is no setting in {readme}"),
            }
            let secret = ["KEY", "PASSWORD", "URL"].iter().any(|end| name.ends_with(end));
            assert!(!secret || !source.starts_with("value"), "{name} is not in the file");
        }
    }
}
