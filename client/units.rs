//! Numbers for people: digits in groups, units that fit.
//!
//! In: counts, bytes, seconds. Out: short text.

/// Returns a number with its digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Returns a count and its noun, in the plural unless the count is 1.
pub fn counted(number: u64, thing: &str) -> String {
    format!(
        "{} {thing}{}",
        grouped(number),
        if number == 1 { "" } else { "s" }
    )
}

/// Returns a size in its largest whole decimal unit.
pub fn bytes(count: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
    match units.iter().find(|(size, _)| count >= *size) {
        Some((size, unit)) => {
            let tenths = count * 10 / size;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => counted(count, "byte"),
    }
}

/// Returns a time in its two largest units.
pub fn duration(seconds: u64) -> String {
    let units = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let largest = units.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let parts = units[largest..]
        .iter()
        .take(2)
        .filter(|(count, _)| *count > 0 || seconds == 0);
    parts
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_in_groups_and_in_units() {
        let numbers = [0, 999, 1000, 12_345, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "12,345", "1,234,567"]);
        let pairs = [1, 2].map(|count| counted(count, "pair"));
        assert_eq!(pairs, ["1 pair", "2 pairs"]);
        let sizes = [999, 18_412_345, 2_000_000_000].map(bytes);
        assert_eq!(sizes, ["999 bytes", "18.4 MB", "2.0 GB"]);
        let times = [0, 59, 60, 7384, 86_400].map(duration);
        assert_eq!(times, ["0 s", "59 s", "1 min", "2 h 3 min", "1 d"]);
    }
}
