//! What can go wrong, and how it is done to a running platform.

use std::fmt;
use std::time::Duration;

use rustix::process::Signal;

use super::FaultsError;
use super::choices::Choices;
use super::crash::{POINTS, Point};
use super::proxy::Line;
use super::stage::{Link, Stage};

/// One thing that goes wrong for a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) what: What,
    /// How long it lasts.
    pub(super) lasts: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// `kill -9`; started again at the end.
    Kill(Who),
    /// Told to end; started again at the end.
    Restart(Who),
    /// SIGSTOP; SIGCONT at the end.
    Freeze(Who),
    /// A process of a service dies at this place of its code; started again at the end.
    Crash(Point),
    /// A line that is not whole.
    Line(Link, Line),
    /// RabbitMQ says that it has no memory left.
    MemoryAlarm,
    /// RabbitMQ says that it has no room on its disk left.
    DiskAlarm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Postgres,
    Rabbit,
    /// One of the stage's programs by its name.
    Program(&'static str),
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Rabbit => "RabbitMQ",
            Self::Program(name) => name,
        }
    }

    /// The service of which it is one instance, or itself.
    fn service(self) -> &'static str {
        self.name().split('-').next().unwrap_or_default()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            What::Kill(who) => write!(formatter, "kill {}", who.name()),
            What::Restart(who) => write!(formatter, "restart {}", who.name()),
            What::Freeze(who) => write!(formatter, "freeze {}", who.name()),
            _ => formatter.write_str(&self.what.kind()),
        }?;
        write!(formatter, " for {} ms", self.lasts.as_millis())
    }
}

impl What {
    /// What it is called, whichever instance of a service it is about.
    pub(super) fn kind(self) -> String {
        match self {
            Self::Kill(who) => format!("{} killed", who.service()),
            Self::Restart(who) => format!("{} restarted", who.service()),
            Self::Freeze(who) => format!("{} frozen", who.service()),
            Self::Crash(point) => format!("{} dies {}", point.service, point.when),
            Self::Line(link, line) => format!("line {} {line}", link.ends()),
            Self::MemoryAlarm => "memory alarm of RabbitMQ".to_owned(),
            Self::DiskAlarm => "disk alarm of RabbitMQ".to_owned(),
        }
    }

    /// Whether both are about the same thing, so that they can't go wrong at once. A crash is about each instance of its
    /// service.
    fn meets(self, other: Self) -> bool {
        let subject = |what| match what {
            What::Kill(who) | What::Restart(who) | What::Freeze(who) => who.name(),
            What::Crash(point) => point.service,
            What::Line(link, _) => link.ends(),
            What::MemoryAlarm | What::DiskAlarm => Who::Rabbit.name(),
        };
        let (one, two) = (subject(self), subject(other));
        one.starts_with(two) || two.starts_with(one)
    }
}

/// Everything that can go wrong, dealt in an order of the seed, so that few rounds see much of it.
pub(super) struct Deck {
    all: Vec<What>,
    left: Vec<What>,
}

impl Deck {
    pub(super) fn new(programs: &[&'static str]) -> Self {
        let mut all = vec![What::MemoryAlarm, What::DiskAlarm];
        let everybody = programs.iter().map(|name| Who::Program(name));
        for who in everybody.chain([Who::Postgres, Who::Rabbit]) {
            all.extend([What::Kill(who), What::Restart(who), What::Freeze(who)]);
        }
        all.extend(POINTS.iter().map(|point| What::Crash(*point)));
        for link in Link::ALL {
            let slow = Line::Slow(Duration::from_millis(150));
            all.extend([Line::Cut, Line::Reset, Line::Halved, slow].map(|line| What::Line(link, line)));
        }
        Self { all, left: Vec::new() }
    }

    /// One thing, or, one time in three, two at once.
    pub(super) fn deal(&mut self, choices: &mut Choices) -> Vec<Fault> {
        let mut faults: Vec<Fault> = Vec::new();
        for _ in 0..=u64::from(choices.below(3) == 0) {
            if self.left.is_empty() {
                self.left.clone_from(&self.all);
                choices.shuffle(&mut self.left);
            }
            let fits = |what: &What| !faults.iter().any(|fault| fault.what.meets(*what));
            if let Some(place) = self.left.iter().position(fits) {
                faults.push(Fault { what: self.left.remove(place), lasts: choices.millis(500, 3_000) });
            }
        }
        // A place is come by only while the rest works.
        faults.sort_by_key(|fault| !matches!(fault.what, What::Crash(_)));
        faults
    }
}

impl Stage {
    /// Makes it go wrong; false where it did not, because nobody came by.
    pub(super) async fn inject(&mut self, fault: &Fault) -> Result<bool, FaultsError> {
        match fault.what {
            What::Kill(Who::Postgres) => self.servers.kill_postgres().await?,
            What::Kill(Who::Rabbit) => self.servers.kill_rabbit().await?,
            What::Kill(Who::Program(name)) => self.program(name).kill().await?,
            What::Restart(Who::Postgres) => self.servers.stop_postgres().await?,
            What::Restart(Who::Rabbit) => self.servers.stop_rabbit().await?,
            What::Restart(Who::Program(name)) => {
                if !self.program(name).stop().await? {
                    return Err(FaultsError::Stopped(name));
                }
            }
            What::Freeze(Who::Postgres) => self.servers.freeze_postgres().await?,
            What::Freeze(who) => self.signal(who, Signal::STOP)?,
            What::Crash(point) => return self.crash(point).await,
            What::Line(link, line) => self.line(link).set(line),
            What::MemoryAlarm => self.control("set_vm_memory_high_watermark", "1").await?,
            What::DiskAlarm => self.control("set_disk_free_limit", "1000000GB").await?,
        }
        Ok(true)
    }

    pub(super) async fn lift(&mut self, fault: &Fault) -> Result<(), FaultsError> {
        match fault.what {
            What::Kill(Who::Postgres) | What::Restart(Who::Postgres) => self.servers.start_postgres().await?,
            What::Kill(Who::Rabbit) | What::Restart(Who::Rabbit) => self.servers.start_rabbit().await?,
            What::Kill(Who::Program(name)) | What::Restart(Who::Program(name)) => self.program(name).start()?,
            What::Freeze(Who::Postgres) => self.servers.thaw_postgres()?,
            What::Freeze(who) => self.signal(who, Signal::CONT)?,
            What::Crash(point) => self.start_again(point)?,
            What::Line(link, _) => self.line(link).set(Line::Whole),
            What::MemoryAlarm => self.control("set_vm_memory_high_watermark", "2GB").await?,
            What::DiskAlarm => self.control("set_disk_free_limit", "100MB").await?,
        }
        Ok(())
    }

    fn signal(&mut self, who: Who, signal: Signal) -> Result<(), FaultsError> {
        let rabbit = self.servers.rabbit_pid().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
        match (who, rabbit) {
            (Who::Program(name), _) => self.program(name).signal(signal)?,
            (_, Some(id)) => rustix::process::kill_process(id, signal).map_err(std::io::Error::from)?,
            (_, None) => {}
        }
        Ok(())
    }

    async fn control(&self, limit: &str, value: &str) -> Result<(), FaultsError> {
        // The memory watermark is a fraction without this word; the limit of the disk takes none.
        let arguments: &[&str] = match limit {
            "set_vm_memory_high_watermark" => &[limit, "absolute", value],
            _ => &[limit, value],
        };
        self.servers.rabbitmqctl(arguments).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dealt(seed: u64, rounds: usize) -> Vec<Vec<Fault>> {
        let (mut choices, mut deck) = (Choices::new(seed), Deck::new(&["ingest-1", "terminal"]));
        (0..rounds).map(|_| deck.deal(&mut choices)).collect()
    }

    /// Goal: a seed repeats its choices, another makes others, and nothing goes wrong twice at the same place at once.
    #[test]
    fn a_seed_deals_the_same_faults_again() {
        let told = |seed| format!("{:?}", dealt(seed, 100));
        assert_eq!(told(1), told(1));
        assert_ne!(told(1), told(2));
        for faults in dealt(3, 1_000) {
            assert!((1..=2).contains(&faults.len()), "{faults:?}");
            assert!(faults.len() == 1 || !faults[0].what.meets(faults[1].what), "{faults:?}");
        }
        let crash = What::Crash(Point { service: "ingest", name: "confirmed", when: "" });
        assert!(crash.meets(What::Kill(Who::Program("ingest-2"))), "the instance that is left would have to come by");
        assert!(!crash.meets(What::Line(Link::Senders, Line::Cut)));
    }

    /// Goal: everything has gone wrong once before anything does so again.
    #[test]
    fn every_fault_has_its_turn() {
        let all = Deck::new(&["ingest-1", "terminal"]).all;
        let first: Vec<What> = dealt(4, all.len()).into_iter().flatten().map(|fault| fault.what).collect();
        // The last one of a pass may find only its like left, and is dealt alone.
        for what in &all {
            assert_eq!(first[..all.len()].iter().filter(|other| *other == what).count(), 1, "{what:?}");
        }
    }
}
