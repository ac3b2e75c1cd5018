//! What the terminal is started with: its configuration (`.ini`) and the EA's inputs (`.set`), and how a compiler log
//! reads. Pure.

use std::fmt::Write as _;

/// The one address that the terminal must allow the EA to ask.
pub(crate) const RELAY_URL: &str = "http://127.0.0.1";

/// The broker account.
pub(crate) struct Login {
    pub(crate) login: String,
    pub(crate) password: String,
    pub(crate) server: String,
}

/// What is opened at the start.
pub(crate) struct Chart {
    pub(crate) expert: String,
    pub(crate) symbol: String,
    pub(crate) period: String,
    pub(crate) inputs: Vec<(String, String)>,
    pub(crate) login: Option<Login>,
}

/// The file for `/config:`. It holds the account's password.
pub(crate) fn ini(chart: &Chart) -> String {
    let mut text = String::new();
    if let Some(Login { login, password, server }) = &chart.login {
        let (password, server) = (value(password), value(server));
        let _ = write!(text, "[Common]\r\nLogin={login}\r\nPassword={password}\r\nServer={server}\r\n");
    }
    // Whether the two lines on WebRequest are heeded is disputed: the first start's manual step does not rely on them.
    let _ = write!(
        text,
        "[Experts]\r\nEnabled=1\r\nAllowLiveTrading=1\r\nAllowDllImport=0\r\nAccount=0\r\nProfile=0\r\n\
         WebRequest=1\r\nWebRequestUrl={RELAY_URL}\r\n"
    );
    let Chart { expert, period, .. } = chart;
    let symbol = value(&chart.symbol);
    let _ = write!(text, "[StartUp]\r\nExpert={expert}\r\nSymbol={symbol}\r\nPeriod={period}\r\n");
    if !chart.inputs.is_empty() {
        let _ = write!(text, "ExpertParameters={expert}.set\r\n");
    }
    text
}

/// The EA's inputs, for `MQL5\Presets`.
pub(crate) fn set(inputs: &[(String, String)]) -> String {
    inputs.iter().fold(String::new(), |text, (name, value)| text + name + "=" + value + "\r\n")
}

/// Windows takes quotes around a value away, and blanks at its ends.
fn value(text: &str) -> String {
    let blank = |character: Option<char>| character.is_some_and(|character| " \t\"'".contains(character));
    let quoted = blank(text.chars().next()) || blank(text.chars().next_back());
    if quoted { format!("\"{text}\"") } else { text.to_owned() }
}

/// Plain bytes where that is all there is, as in all public reports; else UTF-16 with its mark, as the terminal
/// itself writes.
pub(crate) fn encode(text: &str) -> Vec<u8> {
    if text.is_ascii() {
        return text.as_bytes().to_vec();
    }
    std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

/// The reverse, for the logs that MetaQuotes' programs write.
pub(crate) fn decode(bytes: &[u8]) -> String {
    let Some(wide) = bytes.strip_prefix(&[0xFF, 0xFE]) else { return String::from_utf8_lossy(bytes).into_owned() };
    let units: Vec<u16> = wide.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    String::from_utf16_lossy(&units)
}

/// Judges a compiler's log; its exit code means nothing.
pub(crate) fn compiled(log: &str) -> Result<(), String> {
    let result = log.lines().rev().find_map(|line| line.trim().strip_prefix("Result:"));
    let Some(result) = result.map(str::trim) else { return Err("the compiler's log has no result".to_owned()) };
    if result.starts_with("0 errors") {
        return Ok(());
    }
    let errors: Vec<&str> = log.lines().map(str::trim).filter(|line| line.contains(": error ")).take(5).collect();
    Err(format!("{result}; {}", errors.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(login: Option<Login>, inputs: &[(&str, &str)]) -> Chart {
        let inputs = inputs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (expert, symbol) = ("CommunityTrader".to_owned(), "EURUSD.m".to_owned());
        Chart { expert, symbol, period: "M1".to_owned(), inputs, login }
    }

    /// Goal: account, chart and EA are in their sections, and the password is as it was set.
    #[test]
    fn the_configuration_names_account_chart_and_expert() {
        let login = Login { login: "123".into(), password: " a;b=c\"".into(), server: "Demo-Server".into() };
        let text = ini(&chart(Some(login), &[("Timer", "100")]));
        for line in [
            "[Common]\r\nLogin=123\r\nPassword=\" a;b=c\"\"\r\nServer=Demo-Server\r\n",
            "AllowLiveTrading=1\r\n",
            "[StartUp]\r\nExpert=CommunityTrader\r\nSymbol=EURUSD.m\r\nPeriod=M1\r\n",
            "ExpertParameters=CommunityTrader.set\r\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
    }

    /// Goal: without an account nothing is said about one, so that the terminal keeps the one it knows.
    #[test]
    fn without_an_account_the_terminal_keeps_its_own() {
        let text = ini(&chart(None, &[]));
        assert!(!text.contains("Common") && !text.contains("ExpertParameters"), "{text}");
    }

    /// Goal: the inputs' file has one line for each.
    #[test]
    fn inputs_are_one_a_line() {
        let inputs = [("Timer".to_owned(), "100".to_owned()), ("Name".to_owned(), "a=b".to_owned())];
        assert_eq!(set(&inputs), "Timer=100\r\nName=a=b\r\n");
    }

    /// Goal: text that is not ASCII survives on its way to Windows and back.
    #[test]
    fn text_that_is_not_ascii_becomes_utf_16() {
        assert_eq!(encode("a=1\r\n"), b"a=1\r\n");
        assert_eq!(encode("ä"), [0xFF, 0xFE, 0xE4, 0x00]);
        assert_eq!(decode(&encode("Paßwort ₿ 𝄞")), "Paßwort ₿ 𝄞");
    }

    /// Goal: only a log that says that there were no errors counts as compiled.
    #[test]
    fn a_compiler_is_judged_by_its_log() {
        let good = "CommunityTrader.mq5 : information: compiling\r\nResult: 0 errors, 1 warnings, 512 ms elapsed\r\n";
        assert_eq!(compiled(good), Ok(()));
        let bad = "X.mq5(3,4) : error 149: 'x' - unexpected token\r\nResult: 10 errors, 0 warnings\r\n";
        let said = compiled(bad).unwrap_err();
        assert!(said.contains("10 errors") && said.contains("unexpected token"), "{said}");
        assert!(compiled("").is_err() && compiled("compiling").is_err());
    }
}
