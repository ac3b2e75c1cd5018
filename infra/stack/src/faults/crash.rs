//! Places in the code of the services and of the terminal at which one of them is made to die. Debug builds only.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::FaultsError;
use super::program::Program;
use super::stage::Stage;

/// How long an armed place waits for somebody to come by.
const ARMED: Duration = Duration::from_secs(5);
/// From the moment at which a process took its file until it is seen to have ended.
const DYING: Duration = Duration::from_secs(5);
/// Nothing announces the end of a process that is one of several.
const LOOK: Duration = Duration::from_millis(5);

/// A place that `common::crash` knows by this name, in this service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) service: &'static str,
    pub(super) name: &'static str,
    /// Between which two steps.
    pub(super) when: &'static str,
}

const fn point(service: &'static str, name: &'static str, when: &'static str) -> Point {
    Point { service, name, when }
}

/// All of them; a release build has none.
pub(super) const POINTS: &[Point] = if cfg!(debug_assertions) {
    &[
        point("ingest", "published", "after a publish, before its confirm"),
        point("ingest", "confirmed", "after the confirm, before the answer"),
        point("dispatcher", "handled", "after signals are stored, before they are acknowledged"),
        point("dispatcher", "claimed", "after a claim is stored, before the answer"),
        point("dispatcher", "taken", "after a confirmation is stored, before the answer"),
        point("dispatcher", "kept", "after an account report is stored"),
        point("dispatcher", "published", "after an account report's publish, before its confirm"),
        point("dispatcher", "updated", "after an account report's confirm, before the answer"),
        point("distributor", "handled", "after account reports are applied, before they are acknowledged"),
        point("distributor", "moved", "after a movement is stored, before the answer"),
        point("terminal", "sending", "after the journal's line, before the order"),
        point("terminal", "filled", "after the fill, before its confirmation"),
    ]
} else {
    &[]
};

/// What tells a program where its places are armed: instances of one service share a folder.
pub(super) fn variable(stage: &Path, program: &str) -> Option<(String, String)> {
    let service = program.split('-').next()?;
    cfg!(debug_assertions).then(|| (common::crash::VARIABLE.to_owned(), folder(stage, service).display().to_string()))
}

fn folder(stage: &Path, service: &str) -> PathBuf {
    stage.join("crash").join(service)
}

impl Stage {
    /// Arms a place and waits until a process died there; false where nobody came by, and the place is disarmed.
    pub(super) async fn crash(&mut self, point: Point) -> Result<bool, FaultsError> {
        let folder = folder(&self.folder, point.service);
        std::fs::create_dir_all(&folder)?;
        let armed = folder.join(point.name);
        std::fs::write(&armed, "")?;
        let until = Instant::now() + ARMED;
        while armed.exists() && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
        match std::fs::remove_file(&armed) {
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let until = Instant::now() + DYING;
        while Instant::now() < until {
            for program in self.instances(point.service) {
                if program.has_fallen()? {
                    program.child = None;
                    return Ok(true);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(FaultsError::Undead(point.name, point.service))
    }

    /// Starts what died there.
    pub(super) fn start_again(&mut self, point: Point) -> io::Result<()> {
        self.instances(point.service).filter(|program| program.child.is_none()).try_for_each(Program::start)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn places_in(path: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                places_in(&path, found);
            } else {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                let names = ["crash::point(\"", "crash_point(\""].map(|call| text.split(call).skip(1));
                let names = names.into_iter().flatten().filter_map(|rest| rest.split_once('"'));
                found.extend(names.map(|(name, _)| name.to_owned()));
            }
        }
    }

    /// Goal: every place in the code has its turn, and none is asked for that the code does not have, in either terminal.
    #[test]
    fn the_places_are_those_of_the_code() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let places = |folders: &[&str]| {
            let mut found = BTreeSet::new();
            for folder in folders {
                places_in(&root.join(folder), &mut found);
            }
            found
        };
        let known = |terminal: bool| -> BTreeSet<String> {
            let of = POINTS.iter().filter(|point| (point.service == "terminal") == terminal);
            of.map(|point| point.name.to_owned()).collect()
        };
        assert_eq!(places(&["common/src", "ingest/src", "dispatcher/src", "distributor/src"]), known(false));
        assert_eq!(places(&["infra/stack/src/terminal"]), known(true));
        assert_eq!(places(&["ea/native/runtime"]), known(true));
    }
}
