//! Numbers as digits. Written for each message and each reply, and therefore without the cost of `format!`.

/// Appends `number` in decimal.
pub fn decimal(mut number: u64, out: &mut Vec<u8>) {
    if number < 10 {
        return out.push(b'0' + number as u8);
    }
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends the last two decimal digits of `number`.
pub fn two_digits(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn as_formatting_does(number in any::<u64>(), shift in 0..64_u32) {
            let number = number >> shift;
            prop_assert_eq!(written(|out| decimal(number, out)), number.to_string());
            prop_assert_eq!(written(|out| two_digits(number, out)), format!("{:02}", number % 100));
        }
    }

    #[test]
    fn zero_is_a_number() {
        assert_eq!(written(|out| decimal(0, out)), "0");
    }
}
