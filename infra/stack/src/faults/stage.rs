//! The platform as a deployment has it: servers, two of each service, a terminal, each a process; and a line between any
//! two of them that can be disturbed.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::config::Limits;

use super::FaultsError;
use super::crash;
use super::program::Program;
use super::proxy::Proxy;
use crate::platform::{Keys, write_private};
use crate::servers::Servers;

/// From the start until every part is ready.
const READY_DEADLINE: Duration = Duration::from_mins(1);
/// Traded by the market, all of them.
pub(super) const SYMBOLS: [&str; 8] = ["EURUSD", "GBPUSD", "USDJPY", "XAUUSD", "AUDUSD", "NZDUSD", "USDCAD", "USDCHF"];

/// A line that can be disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// From senders to ingest.
    Senders,
    /// From the terminal to the dispatchers.
    Terminal,
    /// From members to the distributors.
    Members,
    /// From the services to PostgreSQL.
    Database,
    /// From the services to RabbitMQ.
    Broker,
}

impl Link {
    pub(super) const ALL: [Self; 5] = [Self::Senders, Self::Terminal, Self::Members, Self::Database, Self::Broker];

    /// Its two sides.
    pub(super) fn ends(self) -> &'static str {
        match self {
            Self::Senders => "senders–ingest",
            Self::Terminal => "terminal–dispatcher",
            Self::Members => "members–distributor",
            Self::Database => "services–PostgreSQL",
            Self::Broker => "services–RabbitMQ",
        }
    }
}

pub(super) struct Stage {
    pub(super) servers: Servers,
    pub(super) keys: Keys,
    programs: Vec<Program>,
    proxies: Vec<(Link, Proxy)>,
    /// Where each service's instance listens.
    services: Vec<SocketAddr>,
    pub(super) folder: PathBuf,
    http: reqwest::Client,
    /// What ended by itself, or not in order.
    astray: Vec<&'static str>,
}

const SERVICES: [[&str; 2]; 3] =
    [["ingest-1", "ingest-2"], ["dispatcher-1", "dispatcher-2"], ["distributor-1", "distributor-2"]];

impl Stage {
    /// Starts everything; `ea` is the Expert Advisor's own program, in the simulated terminal's place.
    pub(super) async fn start(folder: &Path, ea: Option<&Path>) -> Result<Self, FaultsError> {
        let servers = Servers::start(&folder.join("servers")).await?;
        let keys = Keys::generate()?;
        let ports = crate::servers::free_ports(SERVICES.as_flattened().len())?;
        let services: Vec<SocketAddr> = ports.into_iter().map(|port| (Ipv4Addr::LOCALHOST, port).into()).collect();
        let other = |url: &str| address_in(url).ok_or_else(|| FaultsError::Address(url.to_owned()));
        let sides = [
            (Link::Senders, services[0..2].to_vec()),
            (Link::Terminal, services[2..4].to_vec()),
            (Link::Members, services[4..6].to_vec()),
            (Link::Database, vec![other(&servers.database_url)?]),
            (Link::Broker, vec![other(&servers.amqp_url)?]),
        ];
        let mut proxies = Vec::new();
        for (link, others) in sides {
            proxies.push((link, Proxy::start(others).await?));
        }
        let mut stage = Self {
            servers,
            keys,
            programs: Vec::new(),
            proxies,
            services,
            folder: folder.to_owned(),
            http: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(1)).build()?,
            astray: Vec::new(),
        };
        stage.add_services()?;
        match ea {
            None => stage.add_terminal()?,
            Some(ea) => stage.add_expert_advisors(ea)?,
        }
        for program in &mut stage.programs {
            program.start()?;
        }
        let began = Instant::now();
        while !stage.is_ready().await? {
            if began.elapsed() > READY_DEADLINE {
                return Err(FaultsError::NotNormal("the start", READY_DEADLINE, stage.folder));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(stage)
    }

    fn add_services(&mut self) -> Result<(), FaultsError> {
        let through = |url: &str, link: Link| {
            let (from, to) = (address_in(url), self.line(link).address);
            from.map(|from| url.replace(&from.to_string(), &to.to_string())).unwrap_or_default()
        };
        let mut environment: Vec<(String, String)> = self.keys.variables().collect();
        environment.extend(Limits::for_load().variables());
        environment.push(("DATABASE_URL".to_owned(), through(&self.servers.database_url, Link::Database)));
        environment.push(("AMQP_URL".to_owned(), through(&self.servers.amqp_url, Link::Broker)));
        environment.push(("METRICS_ADDR".to_owned(), "127.0.0.1:0".to_owned()));
        // Several in each round.
        environment.push(("HEARTBEAT_SECONDS".to_owned(), "1".to_owned()));
        // The senders are few and loud.
        environment
            .extend(["RATE_LIMIT_PER_KEY", "RATE_LIMIT_PER_ADDRESS"].map(|name| (name.to_owned(), "0".to_owned())));
        let binary = std::env::current_exe()?;
        for (name, address) in SERVICES.into_iter().flatten().zip(self.services.clone()) {
            let mut environment = environment.clone();
            environment.push(("HTTP_ADDR".to_owned(), address.to_string()));
            let service = name.split('-').next().unwrap_or(name);
            self.add(name, binary.clone(), &["serve", "--only", service], environment);
        }
        Ok(())
    }

    fn add_terminal(&mut self) -> Result<(), FaultsError> {
        let data = self.folder.join("terminal").display().to_string();
        let arguments =
            ["terminal", "--url", &self.url(Link::Terminal), "--data", &data, "--symbols", &SYMBOLS.join(",")];
        let key = ("TERMINAL_KEY".to_owned(), self.keys.terminal().to_owned());
        self.add("terminal", std::env::current_exe()?, &arguments, vec![key]);
        Ok(())
    }

    /// Two installations of it at one account, as a trader has who wants one to go on when the other fails.
    fn add_expert_advisors(&mut self, ea: &Path) -> Result<(), FaultsError> {
        let socket = self.folder.join("market.socket").display().to_string();
        let books = self.market().display().to_string();
        let market = ["market", "--socket", &socket, "--data", &books, "--symbols", &SYMBOLS.join(",")];
        self.add("market", std::env::current_exe()?, &market, Vec::new());
        let url = self.url(Link::Terminal);
        let set = format!(
            "InpUrl={url}\nInpKey={}\nInpTimerMs=16\nInpUpdateSeconds=1\nInpWaitMs=1000\nInpTimeoutMs=3000\n\
             InpPositionsMax=10000\n",
            self.keys.terminal()
        );
        for name in ["terminal", "terminal-2"] {
            let files = self.folder.join(format!("{name}-files"));
            let inputs = self.folder.join(format!("{name}.set"));
            std::fs::create_dir_all(&files)?;
            write_private(&inputs, &set)?;
            let [files, inputs] = [files, inputs].map(|path| path.display().to_string());
            let arguments =
                ["--market", &socket, "--files", &files, "--inputs", &inputs, "--symbol", "EURUSD", "--allow", &url];
            self.add(name, ea.to_owned(), &arguments, Vec::new());
        }
        Ok(())
    }

    fn add(&mut self, name: &'static str, binary: PathBuf, arguments: &[&str], mut environment: Vec<(String, String)>) {
        environment.extend(crash::variable(&self.folder, name));
        let arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
        let log = self.folder.join(format!("{name}.log"));
        self.programs.push(Program { name, binary, arguments, environment, log, child: None });
    }

    /// The names of what can be killed. The native terminal's market is the broker, which is another's to run.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.programs.iter().map(|program| program.name).filter(|name| *name != "market").collect()
    }

    /// Every instance of a service.
    pub(super) fn instances(&mut self, service: &str) -> impl Iterator<Item = &mut Program> {
        self.programs.iter_mut().filter(move |program| program.name.split('-').next() == Some(service))
    }

    pub(super) fn program(&mut self, name: &str) -> &mut Program {
        let found = self.programs.iter_mut().find(|program| program.name == name);
        found.expect("the deck holds the stage's own names")
    }

    pub(super) fn line(&self, link: Link) -> &Proxy {
        let found = self.proxies.iter().find(|(one, _)| *one == link);
        &found.expect("every link has its proxy").1
    }

    /// Where this side is reached.
    pub(super) fn url(&self, link: Link) -> String {
        format!("http://{}", self.line(link).address)
    }

    /// The market's books.
    pub(super) fn market(&self) -> PathBuf {
        self.folder.join("terminal/market")
    }

    /// Whether every instance of every service says that it can do its work. What ended by itself is noted, and started
    /// again.
    pub(super) async fn is_ready(&mut self) -> std::io::Result<bool> {
        for program in &mut self.programs {
            if program.has_fallen()? {
                self.astray.push(program.name);
                program.start()?;
            }
        }
        let each = self.services.iter().map(|address| self.http.get(format!("http://{address}/readyz")).send());
        let mut answers = futures_util::future::join_all(each).await.into_iter();
        Ok(answers.all(|answer| answer.is_ok_and(|answer| answer.status().is_success())))
    }

    /// Ends everything in order. The names of what did not end so, or had ended before by itself.
    pub(super) async fn stop(mut self) -> Result<Vec<&'static str>, FaultsError> {
        // The terminal first, the broker behind it last.
        self.programs.reverse();
        for program in &mut self.programs {
            if !program.stop().await? {
                self.astray.push(program.name);
            }
        }
        self.servers.stop().await?;
        Ok(self.astray)
    }
}

/// Host and port of a URL.
fn address_in(url: &str) -> Option<SocketAddr> {
    url.split_once('@')?.1.split('/').next()?.parse().ok()
}
