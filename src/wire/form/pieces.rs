//! Splits a text into pieces, for tests that any split of it gives the same result.

use proptest::sample::Index;

/// The pieces of `text` between `cuts`.
pub(crate) fn pieces<'a>(text: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|i| i.index(text.len() + 1)).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}
