//! The accent color of Gatepost's own pages, and its contrast (WCAG 2.2, success criterion 1.4.3).

use std::fmt;

/// The lowest contrast of text (WCAG 2.2, level AA).
const LEAST: f64 = 4.5;
/// The text on the accent color in the light scheme, and the background of links.
const WHITE: AccentColor = AccentColor([255; 3]);
/// The text on the accent color in the dark scheme, and the lightest background of links there.
const DARK: AccentColor = AccentColor([0x1e, 0x21, 0x27]);

/// A color for buttons and links, `#rrggbb`. White text on it is readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccentColor([u8; 3]);

impl AccentColor {
    /// Parses `#rrggbb`, and checks the contrast with white.
    pub(super) fn parse(text: &str) -> Result<AccentColor, String> {
        let fault = || "invalid color: expected \"#rrggbb\", such as \"#1f5fbf\"".to_owned();
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6).ok_or_else(fault)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(fault());
        }
        let value = u32::from_str_radix(digits, 16).map_err(|_| fault())?;
        let [_, red, green, blue] = value.to_be_bytes();
        let color = AccentColor([red, green, blue]);
        let contrast = color.contrast(WHITE);
        if contrast < LEAST {
            let darker = color.towards(AccentColor([0; 3]), WHITE);
            return Err(format!(
                "{color} has a contrast of {contrast:.1}:1 with the white text on it, and 4.5:1 is required: \
                 use a darker color, such as \"{darker}\""
            ));
        }
        Ok(color)
    }

    /// The color in the dark scheme: mixed with white until dark text on it is readable.
    pub fn in_dark(self) -> AccentColor {
        self.towards(WHITE, DARK)
    }

    /// The color of text on [`AccentColor::in_dark`].
    pub fn dark_text() -> AccentColor {
        DARK
    }

    /// The first mixture with `end` whose contrast with `ground` suffices.
    fn towards(self, end: AccentColor, ground: AccentColor) -> AccentColor {
        let mix = |part: u32| {
            let channel = |from: u8, to: u8| {
                let mixed = (u32::from(from) * (100 - part) + u32::from(to) * part) / 100;
                u8::try_from(mixed).unwrap_or(u8::MAX)
            };
            AccentColor(std::array::from_fn(|at| channel(self.0[at], end.0[at])))
        };
        (0..=100).map(mix).find(|mixed| mixed.contrast(ground) >= LEAST).unwrap_or(end)
    }

    /// The contrast ratio with another color, from 1 to 21.
    fn contrast(self, other: AccentColor) -> f64 {
        let (one, other) = (self.luminance(), other.luminance());
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    /// The relative luminance, from 0 to 1 (WCAG 2.2).
    fn luminance(self) -> f64 {
        let channel = |value: u8| {
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        let [red, green, blue] = self.0.map(channel);
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
}

impl Default for AccentColor {
    fn default() -> Self {
        AccentColor([0x1f, 0x5f, 0xbf])
    }
}

impl fmt::Display for AccentColor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn contrasts_are_those_of_the_standard() {
        let contrast = |one, other| AccentColor(one).contrast(AccentColor(other));
        assert!((contrast([0; 3], [255; 3]) - 21.0).abs() < 0.01);
        // The examples of WebAIM: #767676 suffices on white, #777777 does not.
        assert!(contrast([0x76; 3], [255; 3]) >= LEAST);
        assert!(contrast([0x77; 3], [255; 3]) < LEAST);
        assert!((contrast([255, 0, 0], [255; 3]) - 3.998).abs() < 0.01);
    }

    #[test]
    fn colors_are_read_and_light_ones_are_refused() {
        assert_eq!(AccentColor::parse("#1F5fbf"), Ok(AccentColor::default()));
        for bad in ["", "#", "1f5fbf", "#1f5fb", "#1f5fbf0", "#1f5fbg", "#+f5fbf", "blue", "rgb(1,2,3)"] {
            assert!(AccentColor::parse(bad).unwrap_err().contains("#rrggbb"), "{bad}");
        }
        let error = AccentColor::parse("#ffee00").unwrap_err();
        assert!(error.contains("1.2:1") && error.contains("4.5:1"), "{error}");
    }

    proptest! {
        #[test]
        fn text_is_readable_in_both_schemes(channels: [u8; 3]) {
            let any = AccentColor(channels);
            prop_assert!(any.in_dark().contrast(DARK) >= LEAST);
            let darker = any.towards(AccentColor([0; 3]), WHITE);
            prop_assert!(darker.contrast(WHITE) >= LEAST);
            prop_assert_eq!(AccentColor::parse(&darker.to_string()), Ok(darker));
        }
    }
}
