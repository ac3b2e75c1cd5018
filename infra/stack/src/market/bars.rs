//! Prices of the past: a bar file as MetaTrader 5 exports it, replayed as four prices a bar.
//!
//! Pure but for [`read_bars`]. Its invariant: a file is taken wholly or refused with its line; no bar is guessed.

#[cfg(test)]
mod tests;

use std::path::Path;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use time::{Date, PrimitiveDateTime, Time};

use super::{Error, SymbolSpec};

/// The largest file taken: some years of one-minute bars.
const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// The widest spread believed, in points.
const SPREAD_MAX: i64 = 1_000_000;
const DATE: StaticFormatDescription = format_description!("[year].[month].[day]");
const TIME: StaticFormatDescription = format_description!("[hour]:[minute]:[second]");

/// One bar, in points of its symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar {
    /// The first bid.
    pub open: i64,
    /// The highest bid.
    pub high: i64,
    /// The lowest bid.
    pub low: i64,
    /// The last bid.
    pub close: i64,
    /// Distance of the ask from the bid.
    pub spread: i64,
}

/// Where the columns of a file are. A daily file has no times.
struct Columns {
    count: usize,
    date: usize,
    time: Option<usize>,
    prices: [usize; 4],
    spread: usize,
}

/// Reads the bars of a symbol from a file.
pub fn read_bars(path: &Path, symbol: &SymbolSpec) -> Result<Vec<Bar>, Error> {
    let name = path.display().to_string();
    let failed = |source| Error::Io { path: name.clone(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(Error::Bars { path: name, line: 1, reason: "the file is too large".to_owned() });
    }
    let content = std::fs::read(path).map_err(failed)?;
    parse(&content, symbol).map_err(|(line, reason)| Error::Bars { path: name, line, reason })
}

/// A refusal is the number of its line, from 1, and the reason.
fn parse(content: &[u8], symbol: &SymbolSpec) -> Result<Vec<Bar>, (usize, String)> {
    let text = decode(content).ok_or_else(|| (1, "the file is neither UTF-8 nor UTF-16".to_owned()))?;
    let mut lines = text.lines().zip(1..);
    let header = lines.next().map_or("", |(line, _)| line);
    let columns = Columns::of(header).map_err(|reason| (1, reason))?;
    let mut bars = Vec::new();
    let mut last = None;
    for (line, number) in lines.filter(|(line, _)| !line.is_empty()) {
        let (at, bar) = parse_bar(line, &columns, symbol).map_err(|reason| (number, reason))?;
        if last.is_some_and(|last| at <= last) {
            return Err((number, "the bar is not after the one before".to_owned()));
        }
        last = Some(at);
        bars.push(bar);
    }
    if bars.is_empty() { Err((1, "there is no bar".to_owned())) } else { Ok(bars) }
}

fn decode(content: &[u8]) -> Option<String> {
    match content {
        [0xFF, 0xFE, rest @ ..] => decode_wide(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => decode_wide(rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        _ => String::from_utf8(content.to_vec()).ok(),
    }
}

fn decode_wide(content: &[u8], unit: fn([u8; 2]) -> u16) -> Option<String> {
    let (units, rest) = content.as_chunks();
    if !rest.is_empty() {
        return None;
    }
    char::decode_utf16(units.iter().map(|bytes| unit(*bytes))).collect::<Result<_, _>>().ok()
}

impl Columns {
    fn of(header: &str) -> Result<Self, String> {
        let names: Vec<&str> = header.split('\t').collect();
        let find = |name: &str| names.iter().position(|one| *one == name);
        let column = |name: &str| find(name).ok_or_else(|| format!("the header has no column {name}"));
        Ok(Self {
            count: names.len(),
            date: column("<DATE>")?,
            time: find("<TIME>"),
            prices: [column("<OPEN>")?, column("<HIGH>")?, column("<LOW>")?, column("<CLOSE>")?],
            spread: column("<SPREAD>")?,
        })
    }
}

fn parse_bar(line: &str, columns: &Columns, symbol: &SymbolSpec) -> Result<(PrimitiveDateTime, Bar), String> {
    let fields: Vec<&str> = line.split('\t').collect();
    if fields.len() != columns.count {
        return Err(format!("{} fields instead of {}", fields.len(), columns.count));
    }
    let date = fields[columns.date];
    let date = Date::parse(date, DATE).map_err(|_| format!("{date:?} is not a date such as 2026.11.20"))?;
    let time = columns.time.map_or(Ok(Time::MIDNIGHT), |column| {
        Time::parse(fields[column], TIME).map_err(|_| format!("{:?} is not a time such as 14:30:00", fields[column]))
    })?;
    let price = |column: usize| points(fields[columns.prices[column]], symbol);
    let (open, high, low, close) = (price(0)?, price(1)?, price(2)?, price(3)?);
    if low > open.min(close) || high < open.max(close) {
        return Err("the first or last price is outside of the highest and lowest".to_owned());
    }
    let spread = fields[columns.spread];
    let spread = spread.parse().ok().filter(|spread| (0..=SPREAD_MAX).contains(spread));
    let spread = spread.ok_or_else(|| format!("{:?} is not a spread in points", fields[columns.spread]))?;
    Ok((date.with_time(time), Bar { open, high, low, close, spread }))
}

fn points(text: &str, symbol: &SymbolSpec) -> Result<i64, String> {
    let price: Option<Decimal> = text.parse().ok().filter(|price| symbol.is_price(*price));
    price
        .and_then(|price| (price / symbol.point).to_i64())
        .ok_or_else(|| format!("{text:?} is not a price of {} with at most {} digits", symbol.name, symbol.digits))
}

/// Bid and spread after so many steps; none once the bars are over.
pub(super) fn price(bars: &[Bar], step: usize) -> Option<(i64, i64)> {
    let bar = bars.get(step / 4)?;
    let rising = bar.close >= bar.open;
    let bid = match step % 4 {
        0 => bar.open,
        1 if rising => bar.low,
        1 => bar.high,
        2 if rising => bar.high,
        2 => bar.low,
        _ => bar.close,
    };
    Some((bid, bar.spread))
}
