//! The market as a process of its own: `stack market`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rust_decimal::Decimal;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{Error, Market, MarketConfig, NUMBER_MAX, SymbolSpec, listen, now, read_bars, serve, state};

/// What a market process is started with.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where it listens: one JSON request a line, one answer a line
    #[arg(long)]
    pub socket: PathBuf,
    /// Where it keeps its books; none: in memory
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Of the random walk of its prices
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// What can be traded
    #[arg(long, value_delimiter = ',', default_value = "EURUSD,GBPUSD,USDJPY,XAUUSD")]
    pub symbols: Vec<String>,
    /// What the broker appends to the name of each symbol
    #[arg(long, default_value = "")]
    pub suffix: String,
    /// The first deposit of a new account; 0: none
    #[arg(long, default_value = "10000", value_parser = money)]
    pub deposit: Decimal,
    /// Currency of a new account
    #[arg(long, default_value = "USD")]
    pub currency: String,
    /// Notional value per unit of margin of a new account
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub leverage: u32,
    /// Of a new account, per lot, taken at each opening and each closing
    #[arg(long, default_value = "0", value_parser = money)]
    pub commission: Decimal,
    /// The same beside the commission
    #[arg(long, default_value = "0", value_parser = money)]
    pub fee: Decimal,
    /// A new account says to be a netting account; it behaves like a hedging one all the same
    #[arg(long)]
    pub netting: bool,
    /// Replays bars that MetaTrader 5 exported, four prices a bar, instead of a random walk; then the price stands still
    #[arg(long, value_name = "SYMBOL=FILE", value_parser = symbol_and_file, num_args = 1..)]
    pub bars: Vec<(String, PathBuf)>,
    /// Pause between two prices of a symbol; 0: prices stand still
    #[arg(long, default_value_t = 1_000)]
    pub tick_ms: u64,
}

impl Args {
    fn config(&self) -> Result<MarketConfig, Error> {
        let named = |symbol: &String| SymbolSpec::named(&format!("{symbol}{}", self.suffix));
        let read = |(symbol, file): &(String, PathBuf)| {
            let spec = named(symbol);
            read_bars(file, &spec).map(|bars| (spec.name, bars))
        };
        Ok(MarketConfig {
            currency: self.currency.clone(),
            leverage: self.leverage,
            deposit: self.deposit,
            commission_per_lot: self.commission,
            fee_per_lot: self.fee,
            hedging: !self.netting,
            seed: self.seed,
            symbols: self.symbols.iter().map(named).collect(),
            bars: self.bars.iter().map(read).collect::<Result<_, _>>()?,
            ..MarketConfig::default()
        })
    }
}

/// Runs a market until `stop`, then removes its socket.
pub async fn main(args: Args, stop: CancellationToken) -> Result<(), Error> {
    let market = Market::open(args.data.as_deref(), args.config()?, now())?;
    let listener = listen(&args.socket).await?;
    info!(market.socket = %args.socket.display(), "market ready");
    let tick = (args.tick_ms > 0).then(|| Duration::from_millis(args.tick_ms));
    serve(listener, Arc::new(Mutex::new(market)), stop, tick).await;
    std::fs::remove_file(&args.socket).map_err(|source| Error::Io { path: args.socket.display().to_string(), source })
}

/// An amount of money that is not negative.
fn money(text: &str) -> Result<Decimal, String> {
    let amount: Decimal = text.parse().map_err(|error| format!("{error}"))?;
    if amount.is_sign_negative() || amount > NUMBER_MAX || amount != amount.round_dp(state::MONEY_DIGITS) {
        return Err("must be from 0, in whole minor units".to_owned());
    }
    Ok(amount)
}

fn symbol_and_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((symbol, file)) if !symbol.is_empty() && !file.is_empty() => Ok((symbol.to_owned(), file.into())),
        _ => Err("must be like EURUSD=FILE, the symbol without the suffix".to_owned()),
    }
}
