//! What a bar file may look like, what is refused, and in which order its prices come.

use super::*;

const HEADER: &str = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>";
const RISING: &str = "2026.11.20\t14:30:00\t1.08500\t1.08620\t1.08480\t1.08600\t100\t0\t12";
const FALLING: &str = "2026.11.20\t14:31:00\t1.08600\t1.08610\t1.08470\t1.0849\t80\t0\t0";

fn parsed(content: &[u8]) -> Result<Vec<Bar>, (usize, String)> {
    parse(content, &SymbolSpec::named("EURUSD"))
}

fn two_bars() -> Vec<Bar> {
    vec![
        Bar { open: 108_500, high: 108_620, low: 108_480, close: 108_600, spread: 12 },
        Bar { open: 108_600, high: 108_610, low: 108_470, close: 108_490, spread: 0 },
    ]
}

/// Goal: every way in which MetaTrader writes such a file gives the same bars.
#[test]
fn line_ends_and_encodings_make_no_difference() {
    let text = format!("{HEADER}\r\n{RISING}\r\n{FALLING}\r\n");
    let wide: Vec<u16> = text.encode_utf16().collect();
    let files = [
        text.clone().into_bytes(),
        text.replace("\r\n", "\n").into_bytes(),
        text.trim_end().as_bytes().to_vec(),
        [b"\xEF\xBB\xBF".as_slice(), text.as_bytes()].concat(),
        [vec![0xFF, 0xFE], wide.iter().flat_map(|unit| unit.to_le_bytes()).collect()].concat(),
        [vec![0xFE, 0xFF], wide.iter().flat_map(|unit| unit.to_be_bytes()).collect()].concat(),
    ];
    for (index, file) in files.iter().enumerate() {
        assert_eq!(parsed(file), Ok(two_bars()), "file {index}");
    }
}

/// Goal: a daily file, which has no times, is read like any other.
#[test]
fn a_daily_file_has_no_times() {
    let file = format!("{HEADER}\n{RISING}\n").replace("<TIME>\t", "").replace("14:30:00\t", "");
    assert_eq!(parsed(file.as_bytes()), Ok(two_bars()[..1].to_vec()));
}

/// Goal: whatever is wrong with a file is said with the line where it is.
#[test]
fn each_fault_is_told_with_its_line() {
    let with = |from: &str, to: &str| format!("{HEADER}\n{RISING}\n{}\n", FALLING.replace(from, to));
    let cases = [
        (String::new(), 1, "no column <DATE>"),
        (HEADER.to_owned(), 1, "no bar"),
        (format!("{RISING}\n"), 1, "no column <DATE>"),
        (format!("{}\n{RISING}\n", HEADER.replace("\t<SPREAD>", "")), 1, "no column <SPREAD>"),
        (with("\t80", ""), 3, "8 fields instead of 9"),
        (with("2026.11.20", "20.11.2026"), 3, "not a date"),
        (with("2026.11.20", "2026.02.30"), 3, "not a date"),
        (with("14:31:00", "14:61:00"), 3, "not a time"),
        (with("14:31:00", "14:30:00"), 3, "not after the one before"),
        (with("1.08610", "1.086105"), 3, "not a price"),
        (with("1.08610", "-1.0861"), 3, "not a price"),
        (with("1.08610", "1,0861"), 3, "not a price"),
        (with("1.08610", "1.08595"), 3, "outside of the highest and lowest"),
        (with("1.08470", "1.08495"), 3, "outside of the highest and lowest"),
        (with("\t0\t0", "\t0\t-1"), 3, "not a spread"),
        (with("\t0\t0", "\t0\t1.5"), 3, "not a spread"),
    ];
    for (file, line, reason) in cases {
        let (at, said) = parsed(file.as_bytes()).unwrap_err();
        assert!(at == line && said.contains(reason), "{file:?}: {at}: {said}");
    }
    assert_eq!(parsed(b"\xFF\xFEa").unwrap_err().1, "the file is neither UTF-8 nor UTF-16");
}

/// Goal: a bar's extremes come in the order of MetaTrader's own generation, and nothing comes after the last bar.
#[test]
fn a_rising_bar_visits_its_low_first_and_a_falling_one_its_high() {
    let bars = two_bars();
    let prices: Vec<(i64, i64)> = (0..10).map_while(|step| price(&bars, step)).collect();
    let rising = [108_500, 108_480, 108_620, 108_600].map(|bid| (bid, 12));
    let falling = [108_600, 108_610, 108_470, 108_490].map(|bid| (bid, 0));
    assert_eq!(prices, [rising, falling].concat());
}

/// Goal: a file that can't be read and one with a fault are named.
#[test]
fn an_error_names_its_file_and_line() {
    let path = std::env::temp_dir().join(format!("bars-{}.csv", uuid::Uuid::new_v4()));
    let said = || read_bars(&path, &SymbolSpec::named("EURUSD")).unwrap_err().to_string();
    let name = path.display().to_string();
    assert!(said().starts_with(&format!("{name}: ")));
    std::fs::write(&path, format!("{HEADER}\n{RISING}\nnonsense\n")).unwrap();
    assert_eq!(said(), format!("{name}:3: 1 fields instead of 9"));
    std::fs::remove_file(&path).unwrap();
}
