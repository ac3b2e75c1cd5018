//! The blueprint for Render, and docker-compose.yml, against what the programs read. Render itself can't be asked here.
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

/// The settings that a README describes, by the first cell of its tables' rows.
fn described(readme: &str) -> Vec<String> {
    let rows = readme.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').nth(1).unwrap().to_owned());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The variables that docker-compose.yml gives to what begins with this line: the names in the block `environment`.
fn passed(service: &str) -> Vec<String> {
    let compose = file("docker-compose.yml");
    let (_, own) = compose.split_once(&format!("\n{service}\n")).unwrap();
    let (_, own) = own.split_once("environment:\n").unwrap();
    let depth = own.find(|character: char| character != ' ').unwrap();
    let lines = own.lines().take_while(|line| line.len() - line.trim_start().len() == depth).map(str::trim);
    let variables = lines.filter(|line| !line.starts_with('#')).map(|line| line.split_once(':').unwrap());
    let name = |(name, value): (&str, &str)| {
        let from_outside = value.trim().strip_prefix("${").map(|value| value.split(":-").next().unwrap());
        assert!(name == "TRUSTED_PROXIES" || from_outside.is_none_or(|outside| outside == name), "{name}:{value}");
        name.trim_end_matches("_FILE").to_owned()
    };
    variables.map(name).collect()
}

/// Goal: what an operator writes into `.env` reaches the program whose README describes it: the services are passed each of
/// their settings that their image does not fix, and neither they nor the bridge anything that is none.
#[test]
fn every_setting_reaches_its_program_in_docker() {
    let readme = file("README.md");
    let (_, deployment) = readme.split_once("\n## Deployment\n").unwrap();
    let table = deployment.split_once("\n| `DATABASE_URL`").unwrap().1;
    let settings = described(&format!("| `DATABASE_URL`{}", table.split_once("\n\n").unwrap().0));
    let (services, image) = (passed("x-service: &service"), file("infra/docker/Dockerfile"));
    assert!(settings.len() > 10 && settings.iter().any(|name| name == "RUST_LOG"), "{settings:?}");
    for name in &settings {
        let fixed = image.contains(&format!("{name}=0.0.0.0:")) || image.contains(&format!("{name}=json"));
        assert!(fixed != services.contains(name), "{name} is passed, or fixed by the image");
    }
    assert!(services.iter().all(|name| settings.contains(name)), "{services:?}");
    let settings = described(&file("mt5-bridge/README.md"));
    let bridge = passed("  mt5-bridge:");
    assert!(bridge.len() > 5 && bridge.iter().all(|name| settings.contains(name)), "{bridge:?}");
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
        let (settings, image, start) = (described(&file(readme)), file(image), file("infra/render/start-bridge"));
        for (name, source) in &services[kind] {
            match name.as_str() {
                "PORT" => {
                    let port = source.trim_start_matches("value: ").trim_matches('"');
                    assert!(image.contains(&format!("HTTP_ADDR=0.0.0.0:{port} ")), "the image listens on {port}");
                }
                "DISPATCHER_HOSTPORT" => assert!(start.contains(name.as_str()), "{name} is read"),
                _ => assert!(settings.contains(name), "{name} is no setting in {readme}"),
            }
            let secret = ["KEY", "PASSWORD", "URL"].iter().any(|end| name.ends_with(end));
            assert!(!secret || !source.starts_with("value"), "{name} is not in the file");
        }
    }
}
