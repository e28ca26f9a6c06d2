//! Numbers as Lua's text, and back.

/// Returns a number with so many significant digits, as `%.NNg` of C writes it.
pub fn of_number(number: f64, digits: usize) -> String {
    if number.is_nan() {
        return if number.is_sign_negative() {
            "-nan"
        } else {
            "nan"
        }
        .to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if number == 0.0 {
        return if number.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let scientific = format!("{number:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').expect("it has an exponent");
    let exponent: i32 = exponent.parse().expect("it is a number");
    let trimmed = |text: &str| -> String {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    let digits = i32::try_from(digits).expect("there are few digits");
    if exponent < -4 || exponent >= digits {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs());
    }
    let decimals = usize::try_from(digits - 1 - exponent).expect("it is not negative");
    trimmed(&format!("{number:.decimals$}"))
}

/// Returns the whole number that a number is, if it is one.
#[expect(clippy::cast_possible_truncation, reason = "checked by the way back")]
pub fn whole(number: f64) -> Option<i64> {
    #[expect(
        clippy::cast_precision_loss,
        clippy::float_cmp,
        reason = "that is what is compared"
    )]
    let is_whole = |whole: i64| whole as f64 == number;
    let whole = number as i64;
    (is_whole(whole) && whole != i64::MAX).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_c_does() {
        for (number, digits, expected) in [
            (3.0, 14, "3"),
            (0.1, 17, "0.10000000000000001"),
            (0.1, 14, "0.1"),
            (1e15, 14, "1e+15"),
            (-2.5e-7, 14, "-2.5e-07"),
            (123_456.75, 14, "123456.75"),
            (1e100, 17, "1e+100"),
        ] {
            assert_eq!(of_number(number, digits), expected);
        }
        assert_eq!(of_number(f64::NEG_INFINITY, 17), "-inf");
        assert_eq!(
            (whole(7.0), whole(7.5), whole(1e300)),
            (Some(7), None, None)
        );
    }
}
