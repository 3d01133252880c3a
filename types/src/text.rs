//! Times and amounts as people write them on a command line. An error says what was expected.

use crate::Stake;
use std::time::Duration;

/// `250ms`, `30s`, `5m`, `2h`, `7d`; a bare number is seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let fault = || format!("expected a time such as 250ms, 30s, 5m, 2h or 7d, got {text:?}");
    let number: u64 = text[..digits].parse().map_err(|_| fault())?;
    let ms = match &text[digits..] {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(fault()),
    };
    number.checked_mul(ms).map(Duration::from_millis).ok_or_else(fault)
}

/// `500`, `20kB`, `3MiB`, `1GB`, `2TiB`: bytes in decimal or binary units.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let fault = || format!("expected a size such as 500MB, 20GiB or 2TiB, got {text:?}");
    let number: u64 = text[..digits].parse().map_err(|_| fault())?;
    let unit = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(fault()),
    };
    number.checked_mul(unit).ok_or_else(fault)
}

/// A whole number of the smallest unit; `_` may stand between digits.
pub fn parse_stake(text: &str) -> Result<Stake, String> {
    let fault = || format!("expected an amount such as 2500 or 2_500, got {text:?}");
    let outer = text.starts_with('_') || text.ends_with('_');
    if outer || !text.chars().all(|c| c.is_ascii_digit() || c == '_') {
        return Err(fault());
    }
    text.replace('_', "").parse().map(Stake).map_err(|_| fault())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let ms = |text| parse_duration(text).map(|time| time.as_millis());
        assert_eq!(ms("250ms"), Ok(250));
        assert_eq!(ms("30"), Ok(30_000));
        assert_eq!(ms("90m"), Ok(5_400_000));
        assert_eq!(ms("2h"), Ok(7_200_000));
        assert!(ms("5 minutes").unwrap_err().contains("5 minutes"));
        assert!(ms("").is_err());
        assert!(ms("99999999999999999999d").is_err());
    }

    #[test]
    fn sizes_have_decimal_or_binary_units() {
        assert_eq!(parse_size("500"), Ok(500));
        assert_eq!(parse_size("20kB"), Ok(20_000));
        assert_eq!(parse_size("3 MiB"), Ok(3 << 20));
        assert_eq!(parse_size("2TiB"), Ok(2 << 40));
        for text in ["", "GB", "1.5GB", "-1", "3 XB", "99999999999999TiB"] {
            assert!(parse_size(text).unwrap_err().contains("2TiB"), "{text:?}");
        }
    }

    #[test]
    fn amounts_are_whole_and_may_be_grouped() {
        assert_eq!(parse_stake("0"), Ok(Stake(0)));
        assert_eq!(parse_stake("1_000_000"), Ok(Stake(1_000_000)));
        assert_eq!(parse_stake("18446744073709551615"), Ok(Stake(u64::MAX)));
        for text in ["", "_", "1_", "_1", "1.5", "-1", "+1", "18446744073709551616"] {
            assert!(parse_stake(text).unwrap_err().contains("2_500"), "{text:?}");
        }
    }
}
