//! The parts that are the same on every page of an entry.

/// The name of the product and the addresses of the files that every page uses. Made once for each entry.
#[derive(Clone, Debug)]
pub struct Site {
    /// The configured title, such as `Acme Mail`.
    pub title: String,
    /// The address of the configured logo, or of Gatepost's own.
    pub logo: String,
    /// The address of the icon.
    pub icon: String,
    /// The address of the stylesheet.
    pub stylesheet: String,
    /// The address of the generated stylesheet with the accent colour.
    pub accent: String,
    /// The address of the script.
    pub script: String,
}
